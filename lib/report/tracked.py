"""What trackers such as TensorBoard and MLflow are told: numbers by name, and curves by name and step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lib.evaluation.results import Results
from lib.experiment.layout import pair_name
from lib.report.findings import Findings, all_mappings

POINTS = 500  # of each error curve
METRICS = (  # of each direction
    "accuracy", "loss", "fixed", "broken", "validation_error", "length_ratio", "cosine", "skill", "agreement",
)  # fmt: skip
Numbers = dict[str, float]
Curves = Iterator[tuple[str, list[tuple[int, float]]]]


def numbers(results: Results) -> Numbers:
    """Return results.json's numbers of networks and directions, as "loss/lite0-to-lite2"; null ones are left out."""
    found: dict[str, float | None] = {}
    for name, network in results["networks"].items():
        found[f"accuracy/{name}"] = network.get("accuracy")
    for mapping in all_mappings(results):
        for metric in METRICS:
            value: float | None = mapping.get(metric)  # type: ignore[assignment] # of a key that is a variable
            found[f"{metric}/{pair_name(mapping['source'], mapping['target'])}"] = value
    for split, one in results.get("eval", {}).items():
        for name, own in one["networks"].items():
            found[f"{split}/accuracy/{name}"] = own["accuracy"]
        for row in one["mappings"]:
            pair = pair_name(row["source"], row["target"])
            found |= {f"{split}/accuracy/{pair}": row["accuracy"], f"{split}/loss/{pair}": row["loss"]}
    return {name: float(value) for name, value in found.items() if value is not None}


def curves(findings: Findings) -> Curves:
    """Yield a name with (step, value) of each curve: E by iteration, loss by rank, loss by training images.

    There are none of many networks, whose curves would be as many as their pairs.
    """
    if not findings.few:
        return
    for mapping in all_mappings(findings.results):
        pair = (mapping["source"], mapping["target"])
        curve = findings.curve(*pair) if mapping["family"] == "affine" else None
        if curve is not None:
            yield f"training_error/{pair_name(*pair)}", thinned(*curve)
        ranks = [row for row in findings.ranks if (row["source"], row["target"]) == pair]
        shares = [row for row in findings.learning_curve if (row["source"], row["target"]) == pair]
        for name, rows in (("rank", ranks), ("rows", shares)):
            points = sorted((row[name], row["loss"]) for row in rows if row[name])  # type: ignore[literal-required]
            if points:
                yield f"loss_by_{name}/{pair_name(*pair)}", points


def thinned(iterations: np.ndarray, errors: np.ndarray) -> list[tuple[int, float]]:
    """Return POINTS of a curve at the most, its first and its last among them."""
    chosen = np.unique(np.linspace(0, len(errors) - 1, POINTS).astype(int))
    return list(zip(iterations[chosen].tolist(), map(float, errors[chosen]), strict=True))
