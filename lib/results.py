"""Prediction tables -> the numbers of results.json: accuracies, losses, overlap regions. All is joined on image_id."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.losses import Pairing
from lib.regions import count_regions
from lib.tables import TableError

Composition = tuple[str, str]  # (network whose features, network whose classifier)


def join(predictions: dict[Composition, pa.Table]) -> dict[Composition, pa.Table]:
    """The same tables, each sorted by image_id, all with the same ids.

    Raises TableError where an id is missing in one of them, stands twice, or has another label there.
    """
    ordered = {composition: table.sort_by("image_id") for composition, table in predictions.items()}
    first, reference = next(iter(ordered.items()))
    if pc.count_distinct(reference["image_id"]).as_py() != len(reference):
        raise TableError(f"predictions {title(first)}: an image_id stands there twice")
    for composition, table in ordered.items():
        if not table["image_id"].equals(reference["image_id"]):
            raise TableError(_mismatch(first, reference, composition, table))
        if not table["label"].equals(reference["label"]):
            raise TableError(f"predictions {title(first)} and {title(composition)} have other labels for one image")
    return ordered


def _mismatch(first: Composition, reference: pa.Table, other: Composition, table: pa.Table) -> str:
    ours, theirs = set(reference["image_id"].to_pylist()), set(table["image_id"].to_pylist())
    few = sorted(ours ^ theirs)[:5]
    return (
        f"predictions {title(first)} and {title(other)} aren't of the same images: {len(ours - theirs)} only in the "
        f"first, {len(theirs - ours)} only in the second, such as {few}. Run `python -m jobs.predict` with --overwrite"
    )


def title(composition: Composition) -> str:
    return "-to-".join(composition)


def evaluate(
    predictions: dict[Composition, pa.Table], feature_sizes: dict[str, int], fit_errors: dict[Composition, float]
) -> dict[str, Any]:
    """The "networks" and "mappings" of results.json. Images without a label are left out of all counts."""
    joined = join(predictions)
    labelled = {composition: table.filter(pc.is_valid(table["label"])) for composition, table in joined.items()}
    right = {composition: _right(table) for composition, table in labelled.items()}
    networks = {name: network(right[name, name], size) for name, size in feature_sizes.items()}
    mappings = [
        mapping(source, target, right, joined[source, target], fit_errors[source, target])
        for source, target in predictions
        if source != target
    ]
    return {"networks": networks, "mappings": mappings}


def _right(table: pa.Table) -> np.ndarray:
    """(n,) bool: whether the top-1 class is the label."""
    return pc.equal(table["predicted"], table["label"]).to_numpy(zero_copy_only=False)


def network(right: np.ndarray, feature_size: int) -> dict[str, Any]:
    """One network by itself: C_A(F_A)."""
    return {"feature_size": feature_size, **_accuracy(int(right.sum()), len(right))}


def mapping(
    source: str, target: str, right: dict[Composition, np.ndarray], mapped: pa.Table, fit_error: float
) -> dict[str, Any]:
    """What C_T loses when F_T is replaced by M_{S->T} F_S; `mapped` is that composition's prediction table."""
    own = right[target, target]
    pairing = Pairing.count(own, right[source, target])
    low, high = pairing.interval95()
    return {
        "source": source,
        "target": target,
        **_accuracy(pairing.mapped_correct, pairing.total),
        "loss": pairing.loss,
        "loss_ci95": [low, high],
        "fixed": pairing.fixed,
        "broken": pairing.broken,
        "fit_error": fit_error,
        "validation_error": _mean(mapped["error"]),
        "length_ratio": _mean(mapped["length_ratio"]),
        "regions": count_regions(own, right[source, source], right[source, target]),
    }


def _accuracy(correct: int, total: int) -> dict[str, Any]:
    return {"correct": correct, "total": total, "accuracy": correct / total}


def _mean(column: pa.ChunkedArray) -> float:
    return float(np.mean(column.to_numpy(), dtype=np.float64))
