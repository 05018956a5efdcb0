"""Maps that were only counted: floor and ceiling, draws of training rows, and what a loss varies by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lib.evaluation.losses import loss_variance
from lib.evaluation.result_tables import SUBSETS
from lib.evaluation.results import ControlResults, Counted, MappingResults, NetworkResults
from lib.experiment.variants import LABEL_ONLY, SELF

Pair = tuple[str, str]
Points = Mapping[Pair, Sequence[Mapping[str, Any]]]  # what manifests say of maps that were only counted


def add_points(
    networks: Mapping[str, NetworkResults], mappings: Sequence[MappingResults], maps: pa.Table, points: Points
) -> pa.Table:
    """Add the controls to the results of networks and mappings, and return the SUBSETS table.

    `maps` is the MAPS table, which has the first draw of each share.
    """
    by_pair = {(mapping["source"], mapping["target"]): mapping for mapping in mappings}
    rows = []
    for pair, theirs in points.items():
        source, target = pair
        own = networks[target]
        for point in theirs:
            if point["name"] == SELF:
                own["from_itself"] = control(point, own)
            elif point["name"] == LABEL_ONLY:
                if point["total"]:
                    by_pair[pair]["label_only"] = control(point, own)
            else:
                rows.append({"source": source, "target": target, **point, **counted(point, own)})
    return pa.Table.from_pylist([*first_draws(maps), *rows], schema=SUBSETS)


def control(point: Mapping[str, Any], own: Counted) -> ControlResults:
    """Return a control's results; `own` is what the target gets right with its own features."""
    return {**counted(point, own), "validation_error": point["validation_error"]}  # type: ignore[typeddict-item]


def counted(point: Mapping[str, Any], own: Counted) -> dict[str, Any]:
    """Return a point's counts, accuracy and loss."""
    accuracy = point["correct"] / point["total"]
    loss = 100 * (own["accuracy"] - accuracy)
    return {"correct": point["correct"], "total": point["total"], "accuracy": accuracy, "loss": loss}


def first_draws(maps: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of a MAPS table that are the first draws of the training rows' shares."""
    return [
        row | {"subset": 0}
        for row in maps.select(
            [name for name in maps.schema.names if name in {*SUBSETS.names, "family", "rank"}]
        ).to_pylist()
        if row["loss"] is not None and row["share"] < 1 and row["family"] == "least_squares" and row["rank"] is None
    ]


def add_variances(mappings: Sequence[MappingResults], subsets: pa.Table) -> None:
    """Add to each mapping what its loss varies by, over evaluation images, training images and seeds.

    `subsets` is the SUBSETS table, whose halves of the training rows tell the second, for least_squares maps.
    """
    halves: dict[Pair, dict[int, float]] = {}
    for row in subsets.to_pylist():
        if row["share"] == 1 / 2:
            halves.setdefault((row["source"], row["target"]), {})[row["subset"]] = row["loss"]
    for mapping in mappings:
        theirs = halves.get((mapping["source"], mapping["target"]), {})
        training = half_sample_variance([theirs[number] for number in sorted(theirs)])
        deviation = mapping.get("loss_sd")
        seeds = None if deviation is None else deviation**2
        evaluation = loss_variance(mapping["fixed"], mapping["broken"], mapping["total"])
        total = evaluation + sum(part for part in (training, seeds) if part is not None)
        mapping["loss_variance"] = {"evaluation": evaluation, "training": training, "seeds": seeds, "total": total}


def half_sample_variance(losses: Sequence[float]) -> float | None:
    """Return the variance of a number over training images, from fits to halves of them that come in pairs.

    Of two halves that hold all rows together, (a - b)^2 / 4 estimates the variance of what all rows give (McCarthy
    1969, "Pseudo-replication: half samples"); it is the mean over the pairs. All halves are judged on the same
    evaluation images, so that these add nothing but their interaction. The result is None without a pair.
    """
    pairs = len(losses) // 2
    if not pairs:
        return None
    one, other = np.asarray(losses[: 2 * pairs]).reshape(-1, 2).T
    return float(np.mean((one - other) ** 2) / 4)
