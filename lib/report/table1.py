"""The paper's Table 1 from results.json, as cells and as Markdown."""

from __future__ import annotations

from typing import Any

from lib.evaluation.chance import at_chance
from lib.report.cells import Row, direction, interval, loss_points, markdown, number, percent, probability, right_of

Results = dict[str, Any]


def table1_rows(results: Results) -> tuple[Row, list[Row]]:
    """Table 1: its header and a row for each composition, own ones first, all as text."""
    tested = any(mapping.get("p_holm") is not None for mapping in results["mappings"])
    header = [
        *("features → classifier", "right", "accuracy %", "loss, points", "95 % interval"),
        *(["p, Holm-corrected"] if tested else []),
        *("fixed", "broken", "E", "length ratio"),
    ]
    blanks = len(header) - 3
    published = {(row["features"], row["classifier"]): row for row in results.get("published", [])}
    sources = sorted({row["source"] for row in published.values()})
    if published:
        header += [f"{what}, printed in {'; '.join(sources)}" for what in ("right", "accuracy %", "loss")]
    body = []
    for name, network in results["networks"].items():
        own = [f"{name} → {name}", right_of(network), percent(network), *[""] * blanks]
        body.append([*own, *_printed(published, name, name)])
    for mapping in results["mappings"]:
        kind = "mapped, at chance" if at_chance(results, mapping) else "mapped"
        body.append(
            [
                f"{direction(mapping)} ({kind})",
                *(right_of(mapping), percent(mapping), loss_points(mapping), interval(mapping["loss_ci95"])),
                *([probability(mapping.get("p_holm"))] if tested else []),
                *(f"{mapping[key]:,}" for key in ("fixed", "broken")),
                number(mapping["validation_error"], 4),
                number(mapping["length_ratio"], 3),
                *_printed(published, mapping["source"], mapping["target"]),
            ]
        )
    return tuple(header), [tuple(row) for row in body]


def _printed(published: dict[tuple[str, str], dict[str, Any]], features: str, classifier: str) -> list[str]:
    if not published:
        return []
    row = published.get((features, classifier), {})
    correct = "" if row.get("correct") is None else f"{row['correct']:,}"
    # str, not a format: a printed 78.0 stays 78.0
    return [correct, *("" if row.get(key) is None else str(row[key]) for key in ("accuracy", "loss"))]


def table1_markdown(results: Results) -> str:
    """Table 1 as Markdown, its columns aligned for a terminal."""
    return markdown(*table1_rows(results))
