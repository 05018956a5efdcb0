"""The page's section about further evaluation sets, from made-up results: what it says stands in the numbers."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import Any

import made_up
import pytest

from lib.evaluation.set_results import with_sets
from lib.report.findings import Findings
from lib.report.report import draw_figures, report_html
from lib.report.sets import results_on, set_lines, sets_markdown, sets_section
from lib.report.titles import titled_findings
from lib.report.tracked import numbers

FOUR = {"dino": 0.8, "vit": 0.78, "resnet": 0.75, "vgg": 0.6}


def with_set(accuracies: dict[str, float], harder: float = 0.0, **fields: Any) -> Findings:
    """Made-up findings with one more set, on which each direction breaks a share `harder` of all images more."""
    found = made_up.findings(accuracies)
    results: Any = found.results
    mappings = copy.deepcopy(results["mappings"])
    for row in mappings:
        row["broken"] += int(harder * row["total"])
        row["correct"] -= int(harder * row["total"])
        row["accuracy"] = row["correct"] / row["total"]
        row["loss"] = 100 * (row["broken"] - row["fixed"]) / row["total"]
    networks = {
        name: {key: own[key] for key in ("correct", "total", "accuracy")} for name, own in results["networks"].items()
    }
    one = {
        "images": results["images"]["val"], "unlabelled": 0, "outside": 0, "classes": None, "restricted": True,
        "several_labels": False, "shared_images": 0, "shared_with_val": 0, "same_images": False, "networks": networks,
        "mappings": mappings,
    }  # fmt: skip
    results["settings"]["images"] = {"eval": {"v2": {"title": "<V2>"}}}
    return replace(found, results=with_sets(results, {"v2": {**one, **fields}}, 0))  # type: ignore[dict-item]


def test_a_set_on_which_nothing_changes_shows_no_difference() -> None:
    found = with_set(FOUR)
    (line,) = set_lines(found.results)
    assert "On <V2> (3,000 images), of 12 directions none lose more than on val, none lose less" in line
    assert "12 show no difference; r = 1.00." in line
    figures = draw_figures(found)
    assert "losses_on_v2" in figures
    html = report_html(found, {name: "<svg></svg>" for name in figures})
    assert "&lt;V2&gt;" in html
    assert "<V2>" not in html
    assert html.index('id="table1"') < html.index('id="sets"')
    assert len(re.findall("<summary>Table 1 on", html)) == 1


def test_a_harder_set_is_told_from_val() -> None:
    found = with_set(FOUR, harder=0.1)
    (line,) = set_lines(found.results)
    assert "of 12 directions 12 lose more than on val" in line
    shift = found.results["eval"]["v2"]["mappings"][0]["shift"]
    assert shift["difference"] == pytest.approx(10)
    assert shift["difference_ci95"][0] > 5


def test_two_networks_have_a_sentence_for_each_direction_and_no_correlation() -> None:
    found = with_set({"a": 0.8, "b": 0.7}, classes=200, outside=7, unlabelled=3, several_labels=True)
    lines = set_lines(found.results)
    assert len(lines) == 2
    assert lines[0].startswith("On <V2> (3,000 images), the loss of a → b is ")
    assert found.results["eval"]["v2"]["correlation"] is None
    section = sets_section(found.results, draw_figures(found), 6)  # type: ignore[arg-type]
    assert section is not None
    text = " ".join(getattr(block, "text", "") for block in section.blocks)
    for words in (
        "3 have no right label", "7 are of no class of the set", "one of the image's right labels",
        "the best among its 200 classes",
    ):  # fmt: skip
        assert words in text


def test_titles_trackers_and_table1_have_the_set() -> None:
    found = with_set({"a": 0.8, "b": 0.7})
    settings: Any = found.results["settings"]
    settings["networks"]["a"]["title"] = "Model A"
    assert {"v2/accuracy/a", "v2/loss/a-to-b"} <= numbers(found.results).keys()
    results = titled_findings(found).results
    assert "Model A → b" in set_lines(results)[0]
    assert "## <V2>" in sets_markdown(results)
    assert "Model A → Model A" in sets_markdown(results)
    assert results_on(results, "v2")["networks"]["Model A"]["correct"] == found.results["networks"]["a"]["correct"]
    assert sets_section(made_up.findings({"a": 0.8, "b": 0.7}).results, {}, 6) is None


def test_many_networks_show_the_greatest_differences_alone() -> None:
    found = with_set({f"n{k}": 0.5 + k / 30 for k in range(8)}, harder=0.05)
    section = sets_section(found.results, {}, 6)
    assert section is not None
    tables: list[Any] = [block for block in section.blocks if block.name == "table"]
    assert len(tables[0].body) == 30
    assert "of 56" in tables[0].caption
    assert not [block for block in section.blocks if block.name == "folded"]
