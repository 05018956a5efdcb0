"""Joined predictions -> the numbers of results.json: accuracies, losses, overlap regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa

from lib.evaluation.agreement import Agreement, Z
from lib.evaluation.chance import LEVEL, accuracy_interval, chance_level, chance_p, shows
from lib.evaluation.cka import Directions
from lib.evaluation.feature_fit import r_squared, skill
from lib.evaluation.joining import Judged
from lib.evaluation.losses import Pairing, holm, loss_interval
from lib.evaluation.ordering import give_and_take, order_networks
from lib.evaluation.regions import count_regions
from lib.evaluation.results import (
    Counted,
    FeatureMappingResults,
    FeatureMapResults,
    FeatureResults,
    MapIdentity,
    MappedResults,
    MappingResults,
    MapResults,
    NetworkResults,
)
from lib.experiment.variants import Variant
from lib.maps.settling import CurveShape

LONGEST = 1000.0  # times a target's vectors' length: no fit that came to rest maps to longer ones, or to shorter


@dataclass(frozen=True)
class Mapped:
    """A map whose predictions are judged, with what its manifest says of it."""

    variant: Variant
    fit_error: float | None  # E of the last training batch; None if it was not fitted in batches
    training_rows: int | None  # None if the manifest does not say
    curve: CurveShape | None = None  # None if it was not fitted in batches, or by an earlier version


def evaluate_map(
    pair: tuple[str, str], judged: Judged, mapped: Mapped, directions: Directions | None, margin: float
) -> MapResults:
    """Return what C_T loses when F_T is replaced by M_{S->T} F_S.

    `directions` are the target's; without them there are neither R² nor skill. `margin` is the loss, in points, within
    which both are equivalent.
    """
    variant = mapped.variant
    answers = judged.mapped[variant.column]
    right, target, source = (judged.right(found) for found in (answers, judged.target, judged.source))
    pairing = Pairing.count(target, right)
    found = counted(right)
    chance = chance_level(judged.label if judged.labels is None else judged.labels, answers)
    return {
        **which_map(pair, mapped),
        **found,
        "accuracy_ci95": list(accuracy_interval(found["correct"], found["total"])),
        "chance": chance,
        "p_chance": chance_p(found["correct"], found["total"], chance),
        "loss": pairing.loss,
        "loss_ci95": list(pairing.interval()),
        "loss_ci90": list(pairing.interval(0.10)),
        "p_value": pairing.p_value,
        "p_equivalent": pairing.p_equivalent(margin),
        "fixed": pairing.fixed,
        "broken": pairing.broken,
        **feature_results(judged, mapped, directions),
        "regions": count_regions(target, source, right),
    }


def which_map(pair: tuple[str, str], mapped: Mapped) -> MapIdentity:
    """Return the entries of maps.parquet that name a map."""
    variant = mapped.variant
    return {
        "source": pair[0],
        "target": pair[1],
        "variant": variant.name,
        "family": variant.family,
        "seed": variant.seed if variant.family == "affine" else None,
        "rank": variant.rank,
        "share": variant.share,
        "rows": mapped.training_rows,
    }


def feature_results(judged: Judged, mapped: Mapped, directions: Directions | None) -> FeatureResults:
    """Return how well a map's features meet the target's own, whose `directions` these are, if they are known."""
    column = mapped.variant.column
    error = judged.error[column]
    return {
        "fit_error": mapped.fit_error,
        "validation_error": error,
        "length_ratio": judged.length_ratio[column],
        "undirected": judged.undirected[column],
        "cosine": judged.cosine[column],
        "r2": None if directions is None else r_squared(directions, error),
        "skill": None if directions is None else skill(directions, error),
    }


def feature_mapping(pair: tuple[str, str], judged: Judged, mapped: Mapped, directions: Directions) -> FeatureMapResults:
    """Return a row of maps.parquet about a map to a network without a classifier."""
    return {**which_map(pair, mapped), **feature_results(judged, mapped, directions)}


def main_feature_mapping(
    variant: Variant, rows: Sequence[FeatureMapResults], curve: CurveShape | None = None
) -> FeatureMappingResults:
    """Return what results.json says of a pair whose target has no classifier, from the rows of all its maps.

    `curve` is what the main map's error curve looks like.
    """
    found = next(row for row in rows if row["variant"] == variant.name)
    wanted = FeatureMappingResults.__annotations__
    result = cast(FeatureMappingResults, {key: value for key, value in found.items() if key in wanted})
    if curve is not None:
        result["fit_curve"] = judged_curve(curve, result["length_ratio"])
    return result


def judged_curve(curve: CurveShape, length_ratio: float | None) -> CurveShape:
    """Return what an error curve looks like. A map whose vectors have left all measure has diverged, too: E, which
    knows no lengths, does not show that.
    """
    sane = length_ratio is not None and np.isfinite(length_ratio) and 1 / LONGEST < length_ratio < LONGEST
    return curve if sane else {**curve, "state": "diverged"}


def main_mapping(
    judged: Judged, variant: Variant, rows: Sequence[MapResults], curve: CurveShape | None = None
) -> MappingResults:
    """Return the results of a pair's main map, with agreement and the spread over seeds, from those of all its maps.

    `curve` is what the main map's error curve looks like.
    """
    found = next(row for row in rows if row["variant"] == variant.name)
    agreement = Agreement.count(judged.label, judged.target, judged.mapped[variant.column])
    kept = {key: value for key, value in found.items() if key in MappedResults.__annotations__}
    result = cast(MappingResults, {**kept, **agreement.as_results()})
    error, half = found["validation_error"], Z * judged.error_se[variant.column]
    result["validation_error_ci95"] = [error - half, error + half]
    losses = [row["loss"] for row in rows if row["seed"] is not None and row["family"] == variant.family]
    if len(losses) > 1:
        result["loss_sd"] = float(np.std(losses, ddof=1))
    if curve is not None:
        result["fit_curve"] = judged_curve(curve, result["length_ratio"])
    return result


TESTS = {"p_value": "p_holm", "p_equivalent": "p_equivalent_holm", "p_chance": "p_chance_holm"}  # and corrected


def correct_mappings(rows: Sequence[MappingResults]) -> None:
    """Add Holm's correction of the mappings' tests, which are made for all directions at once, and their intervals."""
    for test, corrected in TESTS.items():
        values = holm([row[test] for row in rows])  # type: ignore[literal-required]
        for row, value in zip(rows, values, strict=True):
            row[corrected] = value  # type: ignore[literal-required]
    for row in rows:
        low, high = loss_interval(row["fixed"], row["broken"], row["total"], LEVEL / len(rows))
        row["loss_ci95_all"] = [float(low), float(high)]
        row["outcome"] = outcome(row)


def outcome(row: MappingResults) -> str:
    """Return what the corrected tests show of a mapping: a loss within the margin, a loss or gain, or neither."""
    if shows(row.get("p_equivalent_holm")):
        return "equivalent"
    return "different" if shows(row.get("p_holm")) else "undecided"


def correct_maps(maps: pa.Table) -> pa.Table:
    """Return a MAPS table with Holm's correction of the tests of each family's full maps, made at once."""
    variants = np.asarray(maps["variant"].to_pylist())
    for test, name in TESTS.items():
        corrected: list[float | None] = [None] * len(maps)
        p_values = maps[test].to_numpy().astype(float)  # null, where the target has no classifier, becomes NaN
        for family in set(maps["family"].to_pylist()):
            places = np.flatnonzero((variants == Variant(family).name) & np.isfinite(p_values))
            for place, p in zip(places.tolist(), holm(p_values[places].tolist()), strict=True):
                corrected[place] = p
        column = maps.schema.get_field_index(name)
        maps = maps.set_column(column, maps.schema.field(column), pa.array(corrected, pa.float64()))
    return maps


def network_results(
    networks: Mapping[str, dict[str, Any]], own: Mapping[str, Counted], losses: dict[tuple[str, str], float]
) -> tuple[dict[str, NetworkResults], list[str]]:
    """Return what results.json says of each network, and their order.

    `networks` has what each one is, such as its "feature_size", `own` what those with a classifier get right with their
    own features, `losses` the points that each pair's main map loses.
    """
    gives = give_and_take(list(networks), losses)
    found = {}
    for name, described in networks.items():
        takes = {"takes": gives[name]["takes"]} if name in own else {}
        known = {**described, **own.get(name, {}), "gives": gives[name]["gives"], **takes}
        found[name] = cast(NetworkResults, known)
    return found, order_networks(list(networks), losses)


def counted(right: np.ndarray) -> Counted:
    """Count the images that are right, (n,) bool."""
    correct, total = int(right.sum()), len(right)
    return {"correct": correct, "total": total, "accuracy": correct / total}
