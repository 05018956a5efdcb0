"""The report in a real browser: sorted, chosen from, read on a phone and in the dark, with nothing fetched."""

import csv
import importlib.util
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import made_up
import pytest

from lib.experiment.layout import Layout
from lib.report.report import write_report

if importlib.util.find_spec("selenium") is None:
    pytest.skip("selenium isn't installed", allow_module_level=True)

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
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
    """Addresses of reports of two, four and twelve networks, one with a name that would break out of the page."""
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    evil = {"a": 0.8, "b": 0.75, EVIL: 0.7, "noise": 0.4}
    for networks in ({"a": 0.8, "b": 0.75}, evil, evil | {f"more{k}": 0.5 + k / 20 for k in range(8)}):
        findings = made_up.findings(networks, useless="noise", class_name=EVIL + "{}")
        write_report(findings, Layout(str(folder / str(len(networks)))))
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


def test_a_table_is_downloaded_as_csv(page: Any, tmp_path: Path) -> None:
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.find_element(By.CSS_SELECTOR, "#table1 caption button").click()
    file = tmp_path / "table1.csv"
    deadline = time.monotonic() + 10
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    with file.open(newline="") as lines:
        rows = list(csv.reader(lines))
    assert rows[0][:3] == ["features → classifier", "right", "accuracy %"]
    assert [row[0] for row in rows[1:]] == column(page, 1)
    assert f"{EVIL} → a (mapped)" in [row[0] for row in rows]


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


def test_the_address_names_a_direction(browser: Any, pages: dict[int, str]) -> None:
    browser.get("about:blank")
    browser.get(f"{pages[4]}#noise-to-b")
    shown = [part for part in browser.find_elements(By.CSS_SELECTOR, "[data-direction]") if part.is_displayed()]
    assert [part.find_element(By.TAG_NAME, "h3").text for part in shown] == ["noise → b"]
    browser.get("about:blank")
    browser.get(f"{pages[12]}#noise-to-b")
    assert browser.find_element(By.CSS_SELECTOR, "#pair h3").text == "noise → b"


def click_cell(browser: Any, row: int, column: int, networks: int) -> None:
    area = browser.find_element(By.CSS_SELECTOR, '[data-cells] [id$="-cells"]')
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", area)
    box = browser.execute_script("const b = arguments[0].getBoundingClientRect(); return [b.width, b.height]", area)
    right, down = ((place + 0.5) / networks - 0.5 for place in (column, row))
    ActionChains(browser).move_to_element_with_offset(area, right * box[0], down * box[1]).click().perform()


def test_a_cell_of_the_matrix_leads_to_its_direction(browser: Any, pages: dict[int, str]) -> None:
    browser.set_window_size(1200, 900)
    for networks, heading in ((4, "[data-direction]:not([hidden]) h3"), (12, "#pair h3")):
        browser.get("about:blank")
        browser.get(pages[networks])
        order = json.loads(browser.find_element(By.CSS_SELECTOR, "[data-cells]").get_attribute("data-cells"))
        click_cell(browser, order.index("b"), order.index("a"), networks)
        assert browser.find_element(By.CSS_SELECTOR, heading).text == "b → a"


def test_many_networks_are_searched_sorted_and_looked_into(browser: Any, pages: dict[int, str]) -> None:
    browser.set_window_size(1200, 900)
    browser.get("about:blank")
    browser.get(pages[12])
    assert len(browser.find_elements(By.CSS_SELECTOR, "#pairs tbody tr")) == 100
    browser.find_element(By.CSS_SELECTOR, "#pairs .more").click()
    assert len(browser.find_elements(By.CSS_SELECTOR, "#pairs tbody tr")) == 132
    browser.find_element(By.CSS_SELECTOR, "#pairs input").send_keys("more3")
    names = [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "#pairs tbody th")]
    assert len(names) == 22
    assert all("more3" in name for name in names)
    browser.find_element(By.CSS_SELECTOR, "#pairs thead tr:last-child th:nth-child(4) button").click()
    losses = [float(cell.text) for cell in browser.find_elements(By.CSS_SELECTOR, "#pairs tbody td:nth-child(4)")]
    assert losses == sorted(losses)
    browser.find_element(By.LINK_TEXT, "more3 → a").click()
    pair = browser.find_element(By.ID, "pair")
    assert pair.find_element(By.TAG_NAME, "h3").text == "more3 → a"
    assert len(pair.find_elements(By.CSS_SELECTOR, "svg")) == 4
    assert len(pair.find_elements(By.CSS_SELECTOR, ".thumbnails img")) == 6
    assert f"mapped: {EVIL}2" in pair.text
    pair.find_element(By.LINK_TEXT, "the other direction").click()
    assert browser.find_element(By.CSS_SELECTOR, "#pair h3").text == "a → more3"
    assert browser.title.startswith("How far")


@pytest.mark.parametrize("networks", [2, 4, 12])
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


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("AXE_CORE"),
    reason="AXE_CORE names no axe.min.js (`npm install axe-core`, then AXE_CORE=node_modules/axe-core/axe.min.js)",
)
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page_", ["2", "4#noise-to-b", "12", "12#a-to-b"])
def test_axe_core_finds_nothing(browser: Any, pages: dict[int, str], page_: str, width: int, scheme: str) -> None:
    networks, _, direction = page_.partition("#")
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        browser.get("about:blank")
        browser.get(pages[int(networks)] + (f"#{direction}" if direction else ""))
        browser.execute_script("for (const part of document.querySelectorAll('details')) part.open = true")
        browser.execute_script(Path(os.environ["AXE_CORE"]).read_text())
        found = browser.execute_async_script("axe.run().then(arguments[0])")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert len(found["passes"]) > 15
    told = [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]]
    assert told == []


def test_values_are_told_to_who_points_at_them(page: Any) -> None:
    told = [title.get_attribute("textContent") for title in page.find_elements(By.CSS_SELECTOR, "#ranks svg title")]
    assert len(told) == 12 * 6
    assert all(" points at " in text for text in told)
    area = page.find_element(By.CSS_SELECTOR, '[data-cells] [id$="-cells"]')
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", area)
    order = json.loads(page.find_element(By.CSS_SELECTOR, "[data-cells]").get_attribute("data-cells"))
    width, height = page.execute_script(
        "const b = arguments[0].getBoundingClientRect(); return [b.width, b.height]", area
    )
    right, down = ((order.index(name) + 0.5) / 4 - 0.5 for name in ("a", "b"))
    ActionChains(page).move_to_element_with_offset(area, right * width, down * height).perform()
    card = page.find_element(By.CSS_SELECTOR, "[data-cells] .card")
    row = next(row for row in page.find_elements(By.CSS_SELECTOR, "#table1 tbody tr") if "b → a (mapped)" in row.text)
    loss = row.find_element(By.CSS_SELECTOR, ":nth-child(4)").text
    assert card.get_attribute("title") == f"b → a: {float(loss):g} points of loss"


def test_nothing_is_fetched_and_nothing_goes_wrong(browser: Any, pages: dict[int, str]) -> None:
    browser.get_log("performance")
    browser.get(pages[4])
    browser.get(f"{pages[12]}#a-to-b")
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
        browser.get(pages[12])
        assert "in table1.md" in browser.find_element(By.ID, "directions").text
        assert len(browser.find_elements(By.CSS_SELECTOR, "#table1 tbody tr")) == 20
        assert browser.find_element(By.CSS_SELECTOR, "#losses svg").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
