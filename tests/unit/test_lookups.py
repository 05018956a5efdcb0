"""The page of networks whose classifiers are not their own: probes say so, bare ones have features alone; retrieval."""

from dataclasses import replace
from typing import Any, cast

import made_up
import pyarrow as pa

from lib.evaluation.result_tables import RETRIEVAL
from lib.report.findings import Findings
from lib.report.lookups import lookups_section
from lib.report.report import draw_figures, report_html
from lib.report.titles import titled_findings
from lib.report.tracked import numbers

ROW = {
    "source": "a", "target": "b", "variant": "least_squares.1of16rows", "training_rows": 1250, "recall_at_1": 0.25,
    "recall_at_10": 0.5, "mean_rank": 12.5, "neighbours_at_1": 0.75, "neighbours_at_10": 0.875, "rows": 2000,
}  # fmt: skip


def with_classifier(classifier: str) -> Findings:
    """Made-up findings of a and b, where b's classifier is another; one with "none" has its features compared alone."""
    found = made_up.findings({"a": 0.7, "b": 0.8})
    results: dict[str, Any] = dict(found.results)
    networks = {name: dict(network) for name, network in results["networks"].items()}
    networks["b"]["classifier"] = classifier
    to_b = [dict(row) for row in results["mappings"] if row["target"] == "b"]
    rest = [row for row in results["mappings"] if row["target"] != "b"]
    if classifier == "none":
        for key in ("correct", "total", "accuracy", "classes", "takes"):
            networks["b"].pop(key, None)
        kept = ("source", "target", "family", "fit_error", "validation_error", "length_ratio", "cosine", "r2", "skill")
        results |= {"mappings": rest, "feature_mappings": [{key: row.get(key) for key in kept} for row in to_b]}
        found = replace(found, maps=found.maps.filter(pa.compute.not_equal(found.maps["target"], "b")))
    else:
        results["mappings"] = [*rest, *({**row, "classifier": classifier} for row in to_b)]
    results["networks"] = networks
    rows = pa.Table.from_pylist([ROW, {**ROW, "variant": "affine", "training_rows": None}], schema=RETRIEVAL)
    return replace(found, results=cast(Any, results), retrieval=rows)


def test_a_probe_is_marked_in_each_figure_and_table_of_its_numbers() -> None:
    findings = titled_findings(with_classifier("probe"))
    drawn = draw_figures(findings)
    assert {"ranks", "learning_curve", "principal_directions"} <= set(drawn)
    html = report_html(findings, dict.fromkeys(drawn, "<svg></svg>"))
    assert "a → b (probe)" in html
    assert "b → a (probe)" not in html
    for figure in ("ranks", "learning_curve"):
        labels = {text.get_text() for text in drawn[figure].findobj(match=lambda one: hasattr(one, "get_text"))}
        assert any("a → b (probe)" in label for label in labels)


def test_a_target_without_classifier_has_no_accuracy_anywhere() -> None:
    findings = with_classifier("none")
    drawn = draw_figures(findings)
    html = report_html(findings, dict.fromkeys(drawn, "<svg></svg>"))
    assert "How well features meet" in html
    assert "b → b" not in html
    told = numbers(findings.results)
    assert "accuracy/b" not in told
    assert told["validation_error/a-to-b"] == findings.results["feature_mappings"][0]["validation_error"]
    assert "loss/a-to-b" not in told


def test_retrieval_says_how_many_images_a_map_needs() -> None:
    findings = with_classifier("own")
    html = report_html(findings, dict.fromkeys(draw_figures(findings), "<svg></svg>"))
    assert "Queries in another network" in html
    for text in (
        "least_squares.1of16rows",
        "1,250",
        "all, in batches",
        "25.0",
        "50.0",
        "12.50",
        "75.0",
        "87.5",
        "2,000",
    ):
        assert f">{text}<" in html
    assert lookups_section(RETRIEVAL.empty_table()) is None
