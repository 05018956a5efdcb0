"""Joined predictions -> the numbers of results.json: accuracies, losses, overlap regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lib.evaluation.agreement import Agreement
from lib.evaluation.cka import CrossSums
from lib.evaluation.classes import count_by_class
from lib.evaluation.feature_fit import mean_cosine, r_squared
from lib.evaluation.joining import Judged
from lib.evaluation.losses import Pairing, holm
from lib.evaluation.ordering import give_and_take, order_networks
from lib.evaluation.regions import count_regions
from lib.evaluation.results import (
    BriefMapping,
    Counted,
    EvaluationResults,
    LearningCurveResults,
    MappingResults,
    RankResults,
    SeedResults,
)
from lib.experiment.variants import MapKey, Variant, own_name


@dataclass(frozen=True)
class Mapped:
    """A map whose predictions are judged, with what its manifest says of it."""

    key: MapKey
    fit_error: float | None  # E of the last training batch; None if it was not fitted in batches
    training_rows: int | None  # None if the manifest does not say


def main_maps(maps: Sequence[Mapped]) -> list[Mapped]:
    """Return the first map of each pair."""
    mains: dict[tuple[str, str], Mapped] = {}
    for mapped in maps:
        mains.setdefault(mapped.key.pair, mapped)
    return list(mains.values())


def evaluate_maps(
    judged: Judged,
    networks: Mapping[str, dict[str, int]],
    maps: Sequence[Mapped],
    sums: CrossSums,
    names: list[str] | None,
) -> EvaluationResults:
    """Return what results.json says of networks and maps.

    `networks` has each network's "feature_size" and number of "classes". `maps` are all maps, the main one of each pair
    first. `sums` are those of the evaluation features. `names` are the classes' names, None if they are unknown.
    """
    mains = main_maps(maps)
    mappings = [main_mapping(judged, mapped, maps, sums, names) for mapped in mains]
    correct_together(mappings)
    losses = {(row["source"], row["target"]): row["loss"] for row in mappings}
    gives = give_and_take(list(networks), losses)
    return {
        "networks": {
            name: {
                "feature_size": described["feature_size"],
                "classes": described["classes"],
                **counted(judged.right(own_name(name))),
                "gives": gives[name]["gives"],
                "takes": gives[name]["takes"],
            }
            for name, described in networks.items()
        },
        "mappings": mappings,
        "families": evaluate_families(judged, maps, mains, sums),
        "ranks": rank_results(judged, maps),
        "learning_curve": learning_curve_results(judged, maps),
        "order": order_networks(list(networks), losses),
    }


def evaluate_mapping(judged: Judged, mapped: Mapped, sums: CrossSums) -> MappingResults:
    """Return what C_T loses when F_T is replaced by M_{S->T} F_S."""
    key = mapped.key
    right = judged.right(key.name)
    target, source = judged.right(own_name(key.target)), judged.right(own_name(key.source))
    pairing = Pairing.count(target, right)
    error = judged.error[key.name]
    return {
        "source": key.source,
        "target": key.target,
        "family": key.variant.family,
        **counted(right),
        "loss": pairing.loss,
        "loss_ci95": list(pairing.interval95()),
        "p_value": pairing.p_value,
        "fixed": pairing.fixed,
        "broken": pairing.broken,
        "fit_error": mapped.fit_error,
        "validation_error": error,
        "length_ratio": judged.length_ratio[key.name],
        "cosine": mean_cosine(error),
        "r2": r_squared(sums.unit[key.target], sums.n, error, sums.directed[key.target]),
        "regions": count_regions(target, source, right),
    }


def main_mapping(
    judged: Judged, mapped: Mapped, maps: Sequence[Mapped], sums: CrossSums, names: list[str] | None
) -> MappingResults:
    """Return the results of a pair's main map, with agreement, the spread over seeds, and the loss by class."""
    key = mapped.key
    found = evaluate_mapping(judged, mapped, sums)
    right_own, right = judged.right(own_name(key.target)), judged.right(key.name)
    agreement = Agreement.count(judged.label, judged.predicted[own_name(key.target)], judged.predicted[key.name])
    found["agreement"], found["agreement_by_chance"] = agreement.same, agreement.same_by_chance
    found["consistency"], found["consistency_by_chance"] = agreement.consistent, agreement.consistent_by_chance
    found["kappa"] = agreement.kappa
    seeds = seed_results(judged, key, maps)
    if len(seeds) > 1:
        found["seeds"] = seeds
        found["loss_sd"] = float(np.std([row["loss"] for row in seeds], ddof=1))
    found["classes"] = count_by_class(judged.label, right_own, right, names)
    return found


def evaluate_families(
    judged: Judged, maps: Sequence[Mapped], mains: Sequence[Mapped], sums: CrossSums
) -> list[MappingResults]:
    """Return the results of the other families' full maps. Their tests are corrected within each family."""
    found = []
    for family in dict.fromkeys(mapped.key.variant.family for mapped in maps):
        rows = [
            evaluate_mapping(judged, mapped, sums)
            for mapped in maps
            if mapped not in mains and mapped.key.variant == Variant(family)
        ]
        correct_together(rows)
        found += rows
    return found


def correct_together(rows: list[MappingResults]) -> None:
    """Add Holm's correction of the mappings' tests, which are made at once."""
    for row, corrected in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_holm"] = corrected


def seed_results(judged: Judged, key: MapKey, maps: Sequence[Mapped]) -> list[SeedResults]:
    """Return the same map under each seed that it was fitted with."""
    return [
        {**brief(judged, other.key), "seed": other.key.variant.seed}
        for other in maps
        if other.key.pair == key.pair and other.key.variant == Variant(key.variant.family, seed=other.key.variant.seed)
    ]


def rank_results(judged: Judged, maps: Sequence[Mapped]) -> list[RankResults]:
    """Return the maps of each rank."""
    return [
        {**brief(judged, mapped.key), "rank": mapped.key.variant.rank}
        for mapped in maps
        if mapped.key.variant.rank is not None
    ]


def learning_curve_results(judged: Judged, maps: Sequence[Mapped]) -> list[LearningCurveResults]:
    """Return the maps of each part of the training rows, the smallest part first."""
    return [
        {**brief(judged, mapped.key), "family": mapped.key.variant.family, "rows": mapped.training_rows}
        for mapped in sorted(maps, key=lambda mapped: mapped.key.variant.share)
        if mapped.key.variant.family == "least_squares" and mapped.key.variant.rank is None
    ]


def brief(judged: Judged, key: MapKey) -> BriefMapping:
    """Return a map's results in short."""
    right = judged.right(key.name)
    return {
        "source": key.source,
        "target": key.target,
        **counted(right),
        "loss": Pairing.count(judged.right(own_name(key.target)), right).loss,
        "validation_error": judged.error[key.name],
    }


def counted(right: np.ndarray) -> Counted:
    """Count the images that are right, (n,) bool."""
    correct, total = int(right.sum()), len(right)
    return {"correct": correct, "total": total, "accuracy": correct / total}
