"""Maps that were only counted: floor and ceiling, draws of training rows, and what losses vary by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.evaluation.agreement import Z
from lib.evaluation.losses import loss_variance
from lib.evaluation.result_tables import SUBSETS
from lib.evaluation.results import ControlResults, Counted, MappingResults, NetworkResults, Variance
from lib.experiment.variants import LABEL_ONLY, SELF

Pair = tuple[str, str]
Points = Mapping[Pair, Sequence[Mapping[str, Any]]]  # what manifests say of maps that were only counted


def add_points(
    networks: Mapping[str, NetworkResults], mappings: Sequence[MappingResults], maps: pa.Table, points: Points
) -> list[dict[str, Any]]:
    """Add the controls to the results of networks and mappings, and return the rows of the SUBSETS table.

    `maps` is the MAPS table, which has the first draw of each share. Rows also have the draw's "regions", None where an
    earlier version did not count them.
    """
    by_pair = {(mapping["source"], mapping["target"]): mapping for mapping in mappings}
    rows = first_draws(maps)
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
                rows.append({"source": source, "target": target, "regions": None, **point, **counted(point, own)})
    return rows


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
            [name for name in maps.schema.names if name in {*SUBSETS.names, "family", "rank", "regions"}]
        ).to_pylist()
        if row["loss"] is not None and row["share"] < 1 and row["family"] == "least_squares" and row["rank"] is None
    ]


def add_variances(mappings: Sequence[MappingResults], subsets: Sequence[Mapping[str, Any]], maps: pa.Table) -> None:
    """Add to each mapping what its loss, E and regions vary by, over evaluation images, training images and seeds.

    `subsets` are the rows of the SUBSETS table, whose halves of the training rows tell the second, for least_squares
    maps. `maps` is the MAPS table, whose maps by Adam with several seeds tell the third.
    """
    halves: dict[Pair, dict[int, Mapping[str, Any]]] = {}
    for row in subsets:
        if row["share"] == 1 / 2:
            halves.setdefault((row["source"], row["target"]), {})[row["subset"]] = row
    seeds = of_seeds(maps)
    for mapping in mappings:
        pair = (mapping["source"], mapping["target"])
        drawn = [row for _, row in sorted(halves.get(pair, {}).items())]
        again = seeds.get((*pair, mapping["family"]), [])
        evaluation = loss_variance(mapping["fixed"], mapping["broken"], mapping["total"])
        mapping["loss_variance"] = variance(evaluation, *values(drawn, again, "loss"))
        if "validation_error_ci95" in mapping:
            low, high = mapping["validation_error_ci95"]
            evaluation = ((high - low) / (2 * Z)) ** 2
            mapping["validation_error_variance"] = variance(evaluation, *values(drawn, again, "validation_error"))
        total = mapping["total"]
        spread = {
            region: variance(count * (1 - count / total), *values(drawn, again, "regions", region))
            for region, count in mapping["regions"].items()
        }
        mapping["regions_sd"] = {region: round(found["total"] ** 0.5, 2) for region, found in spread.items()}


def of_seeds(maps: pa.Table) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """Return the rows of a MAPS table whose maps were fitted with random numbers, by pair and family."""
    kept = maps.select(["source", "target", "family", "loss", "validation_error", "regions"])
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in kept.filter(pc.is_valid(maps["seed"])).to_pylist():
        found.setdefault((row["source"], row["target"], row["family"]), []).append(row)
    return found


def values(
    halves: Sequence[Mapping[str, Any]], seeds: Sequence[Mapping[str, Any]], field: str, region: str | None = None
) -> tuple[list[float], list[float]]:
    """Return a field of the rows of halves and of seeds, or one region's count; none if some row does not have it."""
    found = []
    for rows in (halves, seeds):
        known = [row[field] for row in rows]
        complete = all(value is not None for value in known)
        found.append([value if region is None else value[region] for value in known] if complete else [])
    return found[0], found[1]


def variance(evaluation: float, halves: Sequence[float], seeds: Sequence[float]) -> Variance:
    """Return what a number varies by: `evaluation` over images, the others as it came out in halves and with seeds."""
    training = half_sample_variance(halves)
    drawn = float(np.var(seeds, ddof=1)) if len(seeds) > 1 else None
    total = evaluation + sum(part for part in (training, drawn) if part is not None)
    return {"evaluation": evaluation, "training": training, "seeds": drawn, "total": total}


def half_sample_variance(halves: Sequence[float]) -> float | None:
    """Return the variance of a number over training images, from fits to halves of them that come in pairs.

    Of two halves that hold all rows together, (a - b)^2 / 4 estimates the variance of what all rows give (McCarthy
    1969, "Pseudo-replication: half samples"); it is the mean over the pairs. All halves are judged on the same
    evaluation images, so that these add nothing but their interaction. The result is None without a pair.
    """
    pairs = len(halves) // 2
    if not pairs:
        return None
    one, other = np.asarray(halves[: 2 * pairs], np.float64).reshape(-1, 2).T
    return float(np.mean((one - other) ** 2) / 4)
