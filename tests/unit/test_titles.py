"""Networks are called by their titles wherever the report names them, and found by their names wherever files are."""

from pathlib import Path
from typing import Any

import made_up
import pytest
from project import EXPERIMENTS

from jobs.evaluate import titles
from jobs.report import column_titles, show
from lib.experiment.layout import Layout
from lib.experiment.loading import load_experiment
from lib.report.comparison import compare_experiments
from lib.report.report import write_report
from lib.report.titles import titled, titled_findings

TITLES = {"a": "Alpha & Ω", "b": "Beta <2>"}


def called(accuracies: dict[str, float]) -> Any:
    """Findings whose networks `a` and `b` have titles; the others have none."""
    findings = made_up.findings(accuracies)
    findings.results["settings"]["title"] = "Two of <them>"
    for name, title in TITLES.items():
        findings.results["settings"]["networks"][name]["title"] = title
    return findings


def test_page_table_verdict_and_figures_have_titles_and_files_have_names(tmp_path: Path) -> None:
    write_report(called({"a": 0.8, "b": 0.75}), Layout(str(tmp_path)))
    page = (tmp_path / "report.html").read_text()
    assert "<title>How far can Alpha &amp; Ω and Beta &lt;2&gt; stand in for each other? Two of &lt;them&gt;" in page
    asked = "<strong>How far can Alpha &amp; Ω stand in for Beta &lt;2&gt;?</strong> Fed with mapped features of Alpha"
    assert asked in page
    assert '<article id="a-to-b"' in page
    assert "Alpha & Ω → Beta <2> (mapped)" in (tmp_path / "table1.md").read_text()
    figure = (tmp_path / "figures" / "regions_a-to-b.svg").read_text()
    assert "Beta &lt;2&gt;" in figure
    body = page[page.index("<main>") : page.index('id="settings"')]
    assert ">a → b<" not in body
    assert "of a instead" not in body


@pytest.mark.parametrize("more", [1, 8])
def test_tables_and_curves_are_found_by_titles(more: int, tmp_path: Path) -> None:
    given = called({"a": 0.8, "b": 0.75} | {f"n{k}": 0.5 for k in range(more)})
    findings = titled_findings(given)
    alpha, beta = TITLES.values()
    assert findings.class_counts(alpha, beta) == [
        row | {"source": alpha, "target": beta} for row in given.class_counts("a", "b")
    ]
    assert len(findings.examples_of(alpha, "n0")) == len(given.examples_of("a", "n0")) > 0
    assert findings.curve(alpha, beta)[1].tolist() == given.curve("a", "b")[1].tolist()
    assert findings.maps.schema == given.maps.schema
    assert set(findings.maps["source"].to_pylist()) == {*TITLES.values(), *(f"n{k}" for k in range(more))}
    assert (findings.name(alpha), findings.name("n0")) == ("a", "n0")
    write_report(given, Layout(str(tmp_path)))
    page = (tmp_path / "report.html").read_text()
    assert 'data-cells="' in page
    assert "classes/Alpha" not in page


def test_results_without_titles_stay_as_they_are() -> None:
    results = made_up.findings({"a": 0.8, "b": 0.75, "c": 0.7}).results
    assert titled(results) == results


def test_titles_are_part_of_what_results_are_made_from_only_where_there_are_some() -> None:
    assert titles(load_experiment("lite", [], EXPERIMENTS)) == {}
    named = load_experiment("lite", ["title=Photographs", "networks.lite0.title=Lite 0"], EXPERIMENTS)
    assert titles(named) == {"titles": {"": "Photographs", "lite0": "Lite 0"}}


def test_the_answer_on_the_terminal_has_titles(capsys: pytest.CaptureFixture[str]) -> None:
    show(called({"a": 0.8, "b": 0.75}).results, Layout("runs/x"))
    out = capsys.readouterr().out
    assert "Alpha & Ω → Beta <2> (mapped)" in out
    assert max(map(len, out.splitlines())) <= 100


def test_experiments_beside_each_other_have_titles_and_join_networks_by_name() -> None:
    one, two = called({"a": 0.8, "b": 0.75}).results, made_up.findings({"a": 0.7, "b": 0.65, "c": 0.6}).results
    two["settings"]["networks"]["c"]["title"] = "Alpha & Ω"
    two["settings"]["title"] = "Three"
    names = column_titles(["runs/one", "runs/two"], [one, two])
    assert names == ["Two of <them>", "Three"]
    text, html = compare_experiments(list(zip(names, [one, two], strict=True)))
    rows = [line.split("|") for line in text.splitlines() if "Alpha & Ω (a) → Beta <2>" in line]
    assert len(rows) == 1, "one row for both experiments' a → b"
    assert all(cell.strip() for cell in rows[0][3:5])
    assert "Alpha &amp; Ω (c)" in html
    del two["settings"]["title"]
    assert column_titles(["runs/one/", "runs/two"], [one, two]) == ["runs/one", "runs/two"]
