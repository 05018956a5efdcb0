"""The report from results alone: true counts in the figures, everything escaped, nothing fetched from outside."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import made_up
import numpy as np
import pytest
from PIL import Image

from lib.errors import TableError
from lib.evaluation.regions import REGIONS
from lib.evaluation.result_tables import CLASSES, EXAMPLES, MAPS
from lib.experiment.layout import Layout
from lib.report.cells import plain
from lib.report.comparison import compare_experiments
from lib.report.drawing import to_svg
from lib.report.error_curves import draw_error_curves
from lib.report.findings import Findings
from lib.report.pair_numbers import CLASSES as SHOWN_CLASSES
from lib.report.pair_numbers import pair_numbers
from lib.report.region_diagram import draw_regions
from lib.report.report import draw_figures, report_html, write_report
from lib.report.table1 import table1_markdown, table1_rows
from lib.report.verdict import verdict

SECTIONS = (
    "table1", "losses", "families", "curves", "directions", "ranks", "learning", "agreement", "measures", "seeds",
    "images", "settings", "versions", "cite",
)  # fmt: skip
EVIL = "<script>alert(1)</script>"


def example(name: str = "inception") -> dict[str, Any]:
    """The paper's counts, as results.json holds them."""
    regions = dict(zip(REGIONS, (35000, 1700, 2726, 1900, 2296 - 1700 + 700, 1437, 60, 5881), strict=True))
    mapping = {
        "source": name, "target": "resnet", "correct": 39686, "total": 50000, "accuracy": 0.79372, "loss": -1.328,
        "loss_ci95": [-1.6, -1.05], "fixed": 2960, "broken": 2296, "fit_error": 0.1, "validation_error": 0.12,
        "length_ratio": 1.5, "regions": regions, "family": "affine",
    }  # fmt: skip
    network = {"feature_size": 4, "correct": 39022, "total": 50000, "accuracy": 0.78044}
    return {
        "experiment": "paper",
        "images": {"val": {"listed": 50001, "extracted": 50000, "rejected": 1, "reasons": {"truncated": 1}}},
        "networks": {name: network, "resnet": network},
        "mappings": [mapping],
        "measures": [],
        "published": [{"source": "Table 1", "features": name, "classifier": "resnet", "accuracy": 79.4, "loss": -1.4}],
        "settings": {"seed": 1, "networks": {name: {"model": EVIL}}},
        "versions": {"ray": "2.60"},
    }


CURVE = np.arange(1, 30_001), np.linspace(1.9, 0.1, 30_000, dtype=np.float32)
CURVES = {"inception → resnet": CURVE}


def findings_of(results: Any) -> Findings:
    """Findings of results.json and an error curve alone."""
    return Findings(
        results,
        MAPS.empty_table(),
        EXAMPLES.empty_table(),
        {},
        lambda target: CLASSES.empty_table(),
        lambda *pair: CURVE,
    )


def test_table_has_exact_values_and_says_which_are_printed() -> None:
    header, *_, row = table1_markdown(example()).splitlines()
    assert "printed in Table 1" in header
    for cell in ("39,686 of 50,000", "79.372", "-1.328", "-1.60 to -1.05", "2,960", "2,296", "79.4", "-1.4"):
        assert cell in row


def test_printed_values_stay_as_printed() -> None:
    results = example()
    results["published"].append(
        {"source": "Table 1", "features": "resnet", "classifier": "resnet", "correct": 39022, "accuracy": 78.0}
    )
    row = table1_markdown(results).splitlines()[3]
    assert [cell.strip() for cell in row.split("|")][-4:-1] == ["39,022", "78.0", ""]


def test_a_terminals_table_has_the_columns_that_fit() -> None:
    header, body = table1_rows(example())
    wide, narrow = (plain(header, body, width).splitlines() for width in (400, 100))
    assert max(map(len, narrow)) <= 100
    assert "length ratio" in wide[0]
    assert narrow[0].split("  ")[0] == "features → classifier"
    assert "95 % interval" in narrow[0]
    assert "length ratio" not in narrow[0]
    assert narrow[-1].startswith("inception → resnet (mapped)  39,686 of 50,000")
    assert len(plain(header, body, 5).splitlines()[0]) > 5, "the first column always stands"


def test_verdict_of_many_networks_is_the_range() -> None:
    results = example()
    one = results["mappings"][0]
    losses = {"undecided": 5.0, "equivalent": 2.0, "different": 9.0}
    results["mappings"] = [
        one | {"loss": loss, "loss_ci95_all": [loss - 1, loss + 1], "outcome": outcome}
        for outcome, loss in losses.items()
    ]
    text = verdict(results)
    assert text.startswith(
        "How far can one of these 2 networks stand in for another? Of 3 directions, 1 keep the classifier's accuracy "
        "within 1 point, 1 lose accuracy, none "
    )
    assert "all 3 directions at once: 8.00 to 10.00" in text
    assert "1.00 to 3.00" in text
    assert "9.00 points" in text
    assert "4.00 to 6.00" not in text


@pytest.mark.parametrize(
    ("loss", "outcome", "words"),
    [
        (4.3, "different", "loses 4.30 points"),
        (-1.3, "different", "gains 1.30 points"),
        (0.1, "equivalent", "keeps its accuracy within 2.5 points (78"),
        (0.1, "undecided", "changes by -0.10 points"),
    ],
)
def test_verdict_claims_no_more_than_the_corrected_tests(loss: float, outcome: str, words: str) -> None:
    results = example()
    results["settings"]["evaluate"] = {"margin": 2.5}
    results["mappings"][0] |= {"loss": loss, "outcome": outcome, "loss_ci95_all": [loss - 1, loss + 1]}
    text = verdict(results)
    assert words in text
    assert ("undecided, since neither a difference nor equivalence within 2.5 points is shown" in text) == (
        outcome == "undecided"
    )


def test_images_in_both_splits_are_said_in_the_verdict() -> None:
    results = example() | {"shared_images": 12}
    assert verdict(results).endswith(
        "12 of 50,000 evaluation images have the features of a training image: they may be the same."
    )
    assert "training image" not in verdict(example() | {"shared_images": 0})


def test_one_image_that_is_right_is_not_distinguishable_from_chance_and_said_to_be_so() -> None:
    results = example()
    results["mappings"][0] |= {
        "correct": 1, "total": 1, "accuracy": 1.0, "chance": 1.0, "p_chance_holm": 1.0, "accuracy_ci95": [0.025, 1.0],
    }  # fmt: skip
    assert "is not distinguishable from chance: 100.00 % right, at most 100.00 %, where chance gives 100.00 %" in (
        verdict(results)
    )
    assert "at chance" not in table1_markdown(results)


def test_venn_shows_the_true_counts_and_says_what_is_not_to_scale() -> None:
    text = to_svg(draw_regions(example()["mappings"][0]["regions"], "inception", "resnet"), "f")
    for count in ("35,000", "2,726", "5,881"):
        assert count in text
    assert "tenth" in text
    even = dict.fromkeys(REGIONS, 10)
    assert "tenth" not in to_svg(draw_regions(even, "a", "b"), "f")


@pytest.mark.parametrize("filled", [(), (REGIONS[0],), ("target",), ("none",), ("target", "source")])
def test_venn_of_degenerate_sets(filled: tuple[str, ...]) -> None:
    regions = {name: 5 if name in filled else 0 for name in REGIONS}
    ElementTree.fromstring(to_svg(draw_regions(regions, "a", "b"), "f"))


def test_curves_of_any_length_make_small_valid_svgs_that_repeat() -> None:
    first, second = (to_svg(draw_error_curves(CURVES), "f") for _ in range(2))
    assert first == second
    assert len(first) < 1_000_000
    ElementTree.fromstring(first)
    assert "every 3th" not in first
    assert "one batch in 3" in first


class Page(HTMLParser):
    """Collects what a page would fetch, and the ids in it."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            if key == "id" and value:
                self.ids.append(value)
            if key in ("src", "href") and value and not value.startswith(("#", "data:")):
                self.fetched.append(value)


def written(folder: Path, name: str = "inception") -> str:
    write_report(findings_of(example(name)), Layout(str(folder)))
    return (folder / "report.html").read_text()


def test_page_is_self_contained_and_escaped(tmp_path: Path) -> None:
    text = written(tmp_path, name="b&<b>x")
    page = Page()
    page.feed(text)
    assert page.fetched == []
    assert page.tags.count("script") == 1, "the page's own"
    assert "b" not in page.tags
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("svg") == 2
    assert "truncated: 1" in text


def test_figures_are_written_as_svg_and_png(tmp_path: Path) -> None:
    written(tmp_path)
    for name in ("error_curves", "regions_inception-to-resnet"):
        assert (tmp_path / "figures" / f"{name}.svg").read_text().startswith("<svg")
        with Image.open(tmp_path / "figures" / f"{name}.png") as picture:
            assert picture.width > 500


FOUR = {"inception": 0.8, "resnet": 0.78, "vit": 0.85, "noise": 0.4}


@pytest.fixture(scope="module")
def four() -> Findings:
    return made_up.findings(FOUR, useless="noise")


@pytest.fixture(scope="module")
def many(four: Findings) -> Any:
    return four.results


def test_every_section_of_four_networks_is_there(four: Findings) -> None:
    vectors = {name: to_svg(figure, f"f{k}") for k, (name, figure) in enumerate(draw_figures(four).items())}
    text = report_html(four, vectors)
    for name in SECTIONS:
        assert f'<section id="{name}">' in text
    assert text.count("<option") == 12
    assert "its accuracy is the source&#39;s own" in text
    assert "too few features" in text, "of noise, which has fewer features than classes"


def test_sections_without_numbers_are_left_out() -> None:
    text = report_html(
        findings_of(example()), {"error_curves": "<svg></svg>", "regions_inception-to-resnet": "<svg></svg>"}
    )
    present = [name for name in SECTIONS if f'<section id="{name}">' in text]
    assert present == ["table1", "curves", "directions", "images", "settings", "versions", "cite"]


def test_the_numbers_of_many_networks_are_those_of_the_tables() -> None:
    names = [f"n{k}" for k in range(8)]
    found = made_up.findings({name: 0.5 + k / 20 for k, name in enumerate(names)}, class_name="</script>{}")
    text = pair_numbers(found)
    assert "<" not in text
    numbers = json.loads(text)
    k = [(names[s], names[t]) for s, t in zip(numbers["source"], numbers["target"], strict=True)].index(("n2", "n5"))
    mapping = found.results["mappings"][k]
    assert (mapping["source"], mapping["target"]) == ("n2", "n5")
    columns = {(column["group"], column["title"]): column["values"][k] for column in numbers["columns"]}
    assert columns["", "right"] == mapping["correct"]
    assert columns["", "loss, points"] == round(mapping["loss"], 2)
    assert columns["", "kappa"] is None
    assert columns["classifiers", "E"] == 1.4
    assert sum(numbers["regions"]["counts"][k]) == mapping["total"]
    lines = {line["title"]: line["points"][k] for line in numbers["lines"]}
    assert lines["Loss by rank of the map"][::2] == [1, 2, 4, 8, 16, 32]
    assert lines["Loss by number of training images"][::2] == [1250, 2500, 5000, 10_000, 20_000]
    _, errors = found.curve("n2", "n5")  # type: ignore[misc]
    shown = lines["Fig. 4: error of the training batches"]
    assert shown[:2] == [1, pytest.approx(errors[0], abs=1e-4)]
    assert shown[-2:] == [5000, pytest.approx(errors[-1], abs=1e-4)]
    counts = found.class_counts("n2", "n5")[:SHOWN_CLASSES]
    assert numbers["classes"]["pairs"][k][::5] == [row["label"] for row in counts]
    assert numbers["classes"]["pairs"][k][2::5] == [row["mapped"] for row in counts]
    assert numbers["classes"]["pairs"][k][3::5] == pytest.approx([row["shrunken_loss"] for row in counts], abs=0.05)
    picture, fixed, label, own, mapped = numbers["examples"]["pairs"][k][:5]
    assert numbers["pictures"][picture][0] == f"val/fixed-{label:05d}.jpg"
    assert (fixed, own, mapped) == (1, label + 1, label)


def test_results_of_an_earlier_version_are_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"experiment": "lite", "families": []}')
    with pytest.raises(TableError, match=r"earlier version.*jobs\.pipeline.*'lite'"):
        Findings.read(Layout(str(tmp_path)))


def test_networks_that_give_nothing_are_said_to(many: Any) -> None:
    text = verdict(many)
    assert "Fed with mapped features of noise, no classifier is distinguishable from chance; at most 3." in text
    assert "features of vit, no" not in text
    rows = {row[0]: row for row in table1_rows(many)[1]}
    assert "noise → vit (mapped, chance?)" in rows
    assert "vit → noise (mapped)" in rows


def test_experiments_stand_beside_each_other(many: Any) -> None:
    text, html = compare_experiments([("runs/one", example()), ("runs/two", many)])
    row = next(line for line in text.splitlines() if line.startswith("| inception → resnet"))
    assert "-1.328 (-1.60 to -1.05)" in row
    blank = next(line for line in text.splitlines() if line.startswith("| vit → resnet"))
    assert blank.split("|")[3].strip() == ""
    assert "runs/two" in html
    with pytest.raises(ValueError, match="titles that differ"):
        compare_experiments([("same", example()), ("same", many)])
