"""Prediction tables -> the numbers of results.json: accuracies, losses, overlap regions. All is joined on image_id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib import classes, similarity
from lib.agreement import Agreement
from lib.losses import Pairing, holm
from lib.measures import CrossSums, cosine, explained
from lib.regions import count_regions
from lib.tables import TableError
from lib.variants import Variant


@dataclass(frozen=True)
class Mapped:
    """One map whose predictions are judged."""

    source: str
    target: str
    variant: Variant
    name: str  # of its prediction table
    fit_error: float | None  # E of the last training batch, where it was fitted in batches
    training_rows: int | None  # where the map's manifest says so


@dataclass(frozen=True)
class Judged:
    """All prediction tables, of the same labelled images in the same order."""

    label: np.ndarray  # (n,)
    image_id: np.ndarray  # (n,) str
    predicted: dict[str, np.ndarray]  # table's name -> (n,) class
    error: dict[str, float]  # mapped table's name -> mean E, over all images
    length_ratio: dict[str, float]

    def right(self, name: str) -> np.ndarray:
        """(n,) bool: whether the top-1 class is the label."""
        return self.predicted[name] == self.label


def join(predictions: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """The same tables by name, each sorted by image_id, all with the same ids.

    Raises TableError where an id is missing in one of them, stands twice, or has another label there.
    """
    ordered = {name: table.sort_by("image_id") for name, table in predictions.items()}
    first, reference = next(iter(ordered.items()))
    if pc.count_distinct(reference["image_id"]).as_py() != len(reference):
        raise TableError(f"predictions {first}: an image_id stands there twice")
    for name, table in ordered.items():
        if not table["image_id"].equals(reference["image_id"]):
            raise TableError(_mismatch(first, reference, name, table))
        if not table["label"].equals(reference["label"]):
            raise TableError(f"predictions {first} and {name} have other labels for one image")
    return ordered


def _mismatch(first: str, reference: pa.Table, other: str, table: pa.Table) -> str:
    ours, theirs = set(reference["image_id"].to_pylist()), set(table["image_id"].to_pylist())
    few = sorted(ours ^ theirs)[:5]
    return (
        f"predictions {first} and {other} aren't of the same images: {len(ours - theirs)} only in the "
        f"first, {len(theirs - ours)} only in the second, such as {few}. Run `python -m jobs.predict` with --overwrite"
    )


def judge(predictions: dict[str, pa.Table]) -> Judged:
    """Join the tables. Images without a label are left out of all counts; they have an E all the same."""
    joined = join(predictions)
    labelled = {name: table.filter(pc.is_valid(table["label"])) for name, table in joined.items()}
    reference = next(iter(labelled.values()))
    if not len(reference):
        raise TableError("no evaluation image has a label, so that nothing can be counted")
    mapped = [name for name, table in joined.items() if "error" in table.column_names]
    return Judged(
        label=reference["label"].to_numpy(),
        image_id=np.asarray(reference["image_id"].to_pylist(), object),
        predicted={name: table["predicted"].to_numpy() for name, table in labelled.items()},
        error={name: _mean(joined[name]["error"]) for name in mapped},
        length_ratio={name: _mean(joined[name]["length_ratio"]) for name in mapped},
    )


def _mean(column: pa.ChunkedArray) -> float:
    return float(np.mean(column.to_numpy(), dtype=np.float64))


def evaluate(
    judged: Judged, networks: dict[str, dict[str, int]], maps: list[Mapped], sums: CrossSums, names: list[str] | None
) -> dict[str, Any]:
    """What results.json says of networks and maps.

    `networks` has each one's "feature_size" and number of "classes"; `maps` all maps, of each pair the main one first;
    `sums` are those of the evaluation features; `names` the classes' names, if known.
    """
    mains: dict[tuple[str, str], Mapped] = {}
    for one in maps:
        mains.setdefault((one.source, one.target), one)
    mappings = [{**mapping(judged, one, sums), **more(judged, one, maps, names)} for one in mains.values()]
    correct_together(mappings)
    losses = {(row["source"], row["target"]): row["loss"] for row in mappings}
    gives = similarity.give_and_take(list(networks), losses)
    return {
        "networks": {
            name: {**described, **_accuracy(judged.right(own(name))), **gives[name]}
            for name, described in networks.items()
        },
        "mappings": mappings,
        "families": families(judged, maps, list(mains.values()), sums),
        "ranks": [{**_brief(judged, one), "rank": one.variant.rank} for one in maps if one.variant.rank is not None],
        "learning_curve": [
            {**_brief(judged, one), "family": one.variant.family, "rows": one.training_rows}
            for one in sorted(maps, key=lambda one: one.variant.share)
            if one.variant.family == "least_squares" and one.variant.rank is None
        ],
        "order": similarity.order(list(networks), losses),
    }


def own(network: str) -> str:
    """Name of a network's own prediction table."""
    return f"{network}-to-{network}"


def mapping(judged: Judged, one: Mapped, sums: CrossSums) -> dict[str, Any]:
    """What C_T loses when F_T is replaced by M_{S->T} F_S."""
    target, source, right = judged.right(own(one.target)), judged.right(own(one.source)), judged.right(one.name)
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
        "cosine": cosine(judged.error[one.name]),
        "r2": explained(sums.unit[one.target], sums.n, judged.error[one.name], sums.directed[one.target]),
        "regions": count_regions(target, source, right),
    }


def more(judged: Judged, one: Mapped, maps: list[Mapped], names: list[str] | None) -> dict[str, Any]:
    """What is said of main maps alone: agreement, the spread over seeds, loss by class."""
    right_own, right = judged.right(own(one.target)), judged.right(one.name)
    agreement = Agreement.count(judged.label, judged.predicted[own(one.target)], judged.predicted[one.name])
    seeds = [
        {**_brief(judged, other), "seed": other.variant.seed}
        for other in maps
        if (other.source, other.target) == (one.source, one.target)
        and other.variant == Variant(one.variant.family, seed=other.variant.seed)
    ]
    spread = {"seeds": seeds, "loss_sd": float(np.std([row["loss"] for row in seeds], ddof=1))} if seeds[1:] else {}
    return {**agreement.as_results(), **spread, "classes": classes.by_class(judged.label, right_own, right, names)}


def families(judged: Judged, maps: list[Mapped], mains: list[Mapped], sums: CrossSums) -> list[dict[str, Any]]:
    """The other families' full maps, tests corrected within each family."""
    found = []
    for family in dict.fromkeys(one.variant.family for one in maps):
        rows = [mapping(judged, one, sums) for one in maps if one not in mains and one.variant == Variant(family)]
        correct_together(rows)
        found += rows
    return found


def correct_together(rows: list[dict[str, Any]]) -> None:
    """Add Holm's correction of their tests, made at once, to the mappings."""
    for row, corrected in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_holm"] = corrected


def _brief(judged: Judged, one: Mapped) -> dict[str, Any]:
    right = judged.right(one.name)
    loss = Pairing.count(judged.right(own(one.target)), right).loss
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


def pick_examples(judged: Judged, one: Mapped, count: int, seed: int) -> list[dict[str, Any]]:
    """Some images that the mapping fixed and some that it broke, with what was predicted of them."""
    right_own, right = judged.right(own(one.target)), judged.right(one.name)
    place = {image_id: row for row, image_id in enumerate(judged.image_id)}
    return [
        {
            "source": one.source,
            "target": one.target,
            "kind": kind,
            "image_id": image_id,
            "label": int(judged.label[place[image_id]]),
            "own": int(judged.predicted[own(one.target)][place[image_id]]),
            "mapped": int(judged.predicted[one.name][place[image_id]]),
        }
        for kind, chosen in (("fixed", ~right_own & right), ("broken", right_own & ~right))
        for image_id in classes.examples(judged.image_id, chosen, count, seed)
    ]
