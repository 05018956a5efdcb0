"""Joined predictions -> the numbers of results.json: accuracies, losses, overlap regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.evaluation.agreement import Agreement
from lib.evaluation.cka import CrossSums
from lib.evaluation.classes import count_by_class
from lib.evaluation.feature_fit import mean_cosine, r_squared
from lib.evaluation.joining import Judged
from lib.evaluation.losses import Pairing, holm
from lib.evaluation.ordering import give_and_take, order_networks
from lib.evaluation.regions import count_regions
from lib.experiment.variants import Variant


@dataclass(frozen=True)
class Mapped:
    """One map whose predictions are judged."""

    source: str
    target: str
    variant: Variant
    name: str  # of its prediction table
    fit_error: float | None  # E of the last training batch, where it was fitted in batches
    training_rows: int | None  # where the map's manifest says so


def evaluate_maps(
    judged: Judged, networks: dict[str, dict[str, int]], maps: list[Mapped], sums: CrossSums, names: list[str] | None
) -> dict[str, Any]:
    """What results.json says of networks and maps.

    `networks` has each one's "feature_size" and number of "classes"; `maps` all maps, of each pair the main one first;
    `sums` are those of the evaluation features; `names` the classes' names, if known.
    """
    mains: dict[tuple[str, str], Mapped] = {}
    for one in maps:
        mains.setdefault((one.source, one.target), one)
    mappings = [
        {**evaluate_mapping(judged, one, sums), **describe_main(judged, one, maps, names)} for one in mains.values()
    ]
    correct_together(mappings)
    losses = {(row["source"], row["target"]): row["loss"] for row in mappings}
    gives = give_and_take(list(networks), losses)
    return {
        "networks": {
            name: {**described, **_accuracy(judged.right(own_predictions(name))), **gives[name]}
            for name, described in networks.items()
        },
        "mappings": mappings,
        "families": evaluate_families(judged, maps, list(mains.values()), sums),
        "ranks": [{**_brief(judged, one), "rank": one.variant.rank} for one in maps if one.variant.rank is not None],
        "learning_curve": [
            {**_brief(judged, one), "family": one.variant.family, "rows": one.training_rows}
            for one in sorted(maps, key=lambda one: one.variant.share)
            if one.variant.family == "least_squares" and one.variant.rank is None
        ],
        "order": order_networks(list(networks), losses),
    }


def own_predictions(network: str) -> str:
    """Name of a network's own prediction table."""
    return f"{network}-to-{network}"


def evaluate_mapping(judged: Judged, one: Mapped, sums: CrossSums) -> dict[str, Any]:
    """What C_T loses when F_T is replaced by M_{S->T} F_S."""
    target, source, right = (
        judged.right(own_predictions(one.target)),
        judged.right(own_predictions(one.source)),
        judged.right(one.name),
    )
    pairing = Pairing.count(target, right)
    low, high = pairing.interval95()
    return {
        "source": one.source,
        "target": one.target,
        "family": one.variant.family,
        **_accuracy(right),
        "loss": pairing.loss,
        "loss_ci95": [low, high],
        "p_value": pairing.p_value,
        "fixed": pairing.fixed,
        "broken": pairing.broken,
        "fit_error": one.fit_error,
        "validation_error": judged.error[one.name],
        "length_ratio": judged.length_ratio[one.name],
        "cosine": mean_cosine(judged.error[one.name]),
        "r2": r_squared(sums.unit[one.target], sums.n, judged.error[one.name], sums.directed[one.target]),
        "regions": count_regions(target, source, right),
    }


def describe_main(judged: Judged, one: Mapped, maps: list[Mapped], names: list[str] | None) -> dict[str, Any]:
    """What is said of main maps alone: agreement, the spread over seeds, loss by class."""
    right_own, right = judged.right(own_predictions(one.target)), judged.right(one.name)
    agreement = Agreement.count(judged.label, judged.predicted[own_predictions(one.target)], judged.predicted[one.name])
    seeds = [
        {**_brief(judged, other), "seed": other.variant.seed}
        for other in maps
        if (other.source, other.target) == (one.source, one.target)
        and other.variant == Variant(one.variant.family, seed=other.variant.seed)
    ]
    spread = {"seeds": seeds, "loss_sd": float(np.std([row["loss"] for row in seeds], ddof=1))} if seeds[1:] else {}
    return {**agreement.as_results(), **spread, "classes": count_by_class(judged.label, right_own, right, names)}


def evaluate_families(judged: Judged, maps: list[Mapped], mains: list[Mapped], sums: CrossSums) -> list[dict[str, Any]]:
    """The other families' full maps, tests corrected within each family."""
    found = []
    for family in dict.fromkeys(one.variant.family for one in maps):
        rows = [
            evaluate_mapping(judged, one, sums) for one in maps if one not in mains and one.variant == Variant(family)
        ]
        correct_together(rows)
        found += rows
    return found


def correct_together(rows: list[dict[str, Any]]) -> None:
    """Add Holm's correction of their tests, made at once, to the mappings."""
    for row, corrected in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_holm"] = corrected


def _brief(judged: Judged, one: Mapped) -> dict[str, Any]:
    right = judged.right(one.name)
    loss = Pairing.count(judged.right(own_predictions(one.target)), right).loss
    return {
        "source": one.source,
        "target": one.target,
        **_accuracy(right),
        "loss": loss,
        "validation_error": judged.error[one.name],
    }


def _accuracy(right: np.ndarray) -> dict[str, Any]:
    correct, total = int(right.sum()), len(right)
    return {"correct": correct, "total": total, "accuracy": correct / total}
