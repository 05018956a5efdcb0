"""The report in a real browser: sorted, chosen from, read on a phone and in the dark, with nothing fetched."""

import importlib.util
import shutil
from collections.abc import Iterator
from typing import Any

import made_up
import pytest

from lib.experiment.layout import Layout
from lib.report.report import write_report

if importlib.util.find_spec("selenium") is None:
    pytest.skip("selenium isn't installed", allow_module_level=True)

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

pytestmark = pytest.mark.skipif(
    shutil.which("chromium") is None or shutil.which("chromedriver") is None,
    reason="no Chromium with its driver on this machine (Debian: apt-get install chromium chromium-driver)",
)
EVIL = "x<script>document.title='run'</script>\"'&"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """Addresses of reports of two and of four networks, one with a name that would break out of the page."""
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for networks in ({"a": 0.8, "b": 0.75}, {"a": 0.8, "b": 0.75, EVIL: 0.7, "noise": 0.4}):
        results = made_up.results(networks, useless="noise", class_name=EVIL + "{}")
        examples = made_up.examples(results, word=EVIL)
        write_report(results, made_up.curves(results), Layout(str(folder / str(len(networks)))), examples)
        found[len(networks)] = (folder / str(len(networks)) / "report.html").as_uri()
    return found


@pytest.fixture
def page(browser: Any, pages: dict[int, str]) -> Any:
    browser.set_window_size(1200, 900)
    browser.get(pages[4])
    return browser


def column(browser: Any, place: int) -> list[str]:
    cells = browser.find_elements(By.CSS_SELECTOR, f"#table1 tbody tr > :nth-child({place})")
    return [cell.text for cell in cells]


def header(browser: Any, place: int) -> Any:
    return browser.find_element(By.CSS_SELECTOR, f"#table1 thead tr:last-child > :nth-child({place})")


def test_tables_sort_by_click_and_back(page: Any) -> None:
    given = column(page, 3)
    numbers = sorted(map(float, given))
    button = header(page, 3).find_element(By.TAG_NAME, "button")
    button.click()
    assert [float(cell) for cell in column(page, 3)] == numbers
    assert header(page, 3).get_attribute("aria-sort") == "ascending"
    button.click()
    assert [float(cell) for cell in column(page, 3)] == numbers[::-1]
    button.click()
    assert column(page, 3) == given
    assert header(page, 3).get_attribute("aria-sort") == "none"


def test_tables_sort_by_keyboard_blanks_last(page: Any) -> None:
    button = header(page, 4).find_element(By.TAG_NAME, "button")
    page.execute_script("arguments[0].focus()", button)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    losses = column(page, 4)
    filled = [float(cell) for cell in losses if cell]
    assert filled == sorted(filled)
    assert losses[len(filled) :] == [""] * 4, "own compositions have no loss"


def test_a_direction_is_chosen(page: Any) -> None:
    chooser = Select(page.find_element(By.ID, "direction"))
    assert len(chooser.options) == 12
    for wanted in ("b → a", f"a → {EVIL}"):
        chooser.select_by_visible_text(wanted)
        shown = [part for part in page.find_elements(By.CSS_SELECTOR, "[data-direction]") if part.is_displayed()]
        assert [part.find_element(By.TAG_NAME, "h3").text for part in shown] == [wanted]
        assert shown[0].find_element(By.TAG_NAME, "svg").is_displayed()
        assert len(shown[0].find_elements(By.CSS_SELECTOR, ".thumbnails img")) == 6


def test_two_networks_are_shown_without_a_choice(browser: Any, pages: dict[int, str]) -> None:
    browser.get(pages[2])
    assert not browser.find_elements(By.ID, "direction")
    assert all(part.is_displayed() for part in browser.find_elements(By.CSS_SELECTOR, "[data-direction]"))


def test_names_from_data_are_text(page: Any) -> None:
    assert page.title == "How far can one network stand in for another? Experiment made-up"
    assert f"{EVIL} → {EVIL}" in column(page, 1)


@pytest.mark.parametrize("networks", [2, 4])
def test_it_fits_a_phone(browser: Any, pages: dict[int, str], networks: int) -> None:
    metrics = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        browser.get(pages[networks])
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def luminance(colour: str) -> float:
    """Of "rgb(r, g, b)", 0 to 255."""
    numbers = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return 0.2126 * numbers[0] + 0.7152 * numbers[1] + 0.0722 * numbers[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(page: Any, scheme: str) -> None:
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    body = page.find_element(By.TAG_NAME, "body")
    paper, ink = (luminance(body.value_of_css_property(key)) for key in ("background-color", "color"))
    assert (paper > 128) == (scheme == "light")
    for name in ("body", ".note", "caption", "#table1 td", "figcaption"):
        ink = luminance(page.find_element(By.CSS_SELECTOR, name).value_of_css_property("color"))
        assert abs(paper - ink) > 90, name


def test_nothing_is_fetched_and_nothing_goes_wrong(browser: Any, pages: dict[int, str]) -> None:
    browser.get_log("performance")
    browser.get(pages[4])
    requests = [line for line in browser.get_log("performance") if '"Network.requestWillBeSent"' in line["message"]]
    outside = [line for line in requests if '"url":"http' in line["message"].replace(" ", "")]
    assert outside == []
    assert browser.get_log("browser") == []


def test_it_reads_without_its_script(browser: Any, pages: dict[int, str]) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(pages[4])
        parts = browser.find_elements(By.CSS_SELECTOR, "[data-direction]")
        assert len(parts) == 12
        assert all(part.is_displayed() for part in parts)
        assert not browser.find_element(By.CSS_SELECTOR, ".chooser").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
