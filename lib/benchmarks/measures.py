"""How fast maps are judged and neighbours found, beside numpy on the same tables and scikit-learn's exact search."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pyarrow as pa
from scipy import stats

from lib.benchmarks.tables import half_zero
from lib.benchmarks.timing import Timing, by_turns
from lib.evaluation.cka import Directions
from lib.evaluation.joining import Reference, judge_pair
from lib.evaluation.judging import Mapped, evaluate_map
from lib.evaluation.neighbours import nearest_neighbours
from lib.evaluation.prediction_tables import PREDICTIONS, mapped_schema
from lib.experiment.settings import FitSettings
from lib.experiment.variants import Variant, curve_variants

CLASSES, SIZE, NEAREST = 1000, 2048, 10


def time_measures(repeats: int, images: int = 50_000, neighbours: int = 10_000) -> list[Timing]:
    """Return a row for the evaluation of a pair's maps, and one for neighbours: some minutes on two cores."""
    rows = [beside_numpy(images, repeats)]
    return [*rows, beside_scikit_learn(neighbours, repeats)] if find_spec("sklearn") is not None else rows


def beside_numpy(images: int, repeats: int) -> Timing:
    """Time what is counted of all kinds of map of a pair, from its prediction tables."""
    fit = FitSettings()
    kinds = [*(Variant(family) for family in fit.families), *curve_variants(fit, SIZE)]
    own, source, mapped = made_up_predictions(images, kinds)
    directions = Directions(images, np.ones(SIZE), images)

    def project() -> list[float]:
        judged = judge_pair(Reference("b-to-b", own), ("a-to-a", source), [("a-to-b", mapped)])
        rows = [evaluate_map(("a", "b"), judged, Mapped(kind, None, None), directions, 1.0) for kind in kinds]
        return [row["loss"] for row in rows]

    def numpys() -> list[float]:
        return [100 * row["loss"] for row in by_hand(own, mapped, [kind.column for kind in kinds])]

    np.testing.assert_allclose(project(), numpys(), atol=1e-9)
    rates = by_turns(project, numpys, images * len(kinds), repeats)
    return Timing(
        "evaluation", "answers/s", "accuracy, loss, interval, p and E by numpy and scipy", *rates, goal=1 / 1.2,
        note=f"{images:,} images, {len(kinds)} kinds of map of one pair; the project also has regions, chance and more",
    )  # fmt: skip


def made_up_predictions(images: int, kinds: list[Variant]) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return the predictions of two networks and of all kinds of map between them, each in an order of its own."""
    random = np.random.default_rng(0)
    label = random.integers(0, CLASSES, images).astype(np.int32)
    ids = [f"val/{place:08d}.JPEG" for place in range(images)]

    def answers(right: float) -> np.ndarray:
        return np.where(random.random(images) < right, label, (label + 1) % CLASSES).astype(np.int32)

    of_maps: list[np.ndarray] = []
    for _ in kinds:
        of_maps += [answers(0.7), random.random(images, np.float32), 1 + random.random(images, np.float32)]
    tables = [pa.table([ids, label, answers(right)], schema=PREDICTIONS) for right in (0.8, 0.75)]
    tables.append(pa.table([ids, label, *of_maps], schema=mapped_schema(kind.column for kind in kinds)))
    own, source, mapped = (table.take(random.permutation(images)) for table in tables)
    return own, source, mapped


def by_hand(own: pa.Table, mapped: pa.Table, columns: list[str]) -> list[dict[str, float]]:
    """Return what a person counts of maps: accuracy, its loss with an interval, McNemar's p, and E."""
    order = [np.argsort(table["image_id"].to_numpy().astype(str), kind="stable") for table in (own, mapped)]
    label, answers = (own[name].to_numpy()[order[0]] for name in ("label", "predicted"))
    if not np.array_equal(mapped["label"].to_numpy()[order[1]], label):
        raise ValueError("expected the same images in both tables")
    before, found = answers == label, []
    for column in columns:
        right = mapped[f"predicted_{column}"].to_numpy()[order[1]] == label
        fixed, broken, n = int((~before & right).sum()), int((before & ~right).sum()), len(label)
        loss = (broken - fixed) / n
        half = float(stats.norm.ppf(0.975)) * ((broken + fixed) / n - loss**2) ** 0.5 / n**0.5
        p = float(stats.binomtest(fixed, fixed + broken).pvalue) if fixed + broken else 1.0
        error = float(mapped[f"error_{column}"].to_numpy().mean())
        found.append({"accuracy": float(right.mean()), "loss": loss, "half": half, "p": p, "error": error})
    return found


def beside_scikit_learn(rows: int, repeats: int) -> Timing:
    """Time the nearest neighbours, by cosine, of made-up features."""
    from sklearn.neighbors import NearestNeighbors

    F = half_zero(rows, SIZE, "float32")

    def theirs() -> np.ndarray:
        fitted = NearestNeighbors(n_neighbors=NEAREST, algorithm="brute", metric="cosine").fit(F)
        found: np.ndarray = fitted.kneighbors(return_distance=False)
        return found

    def project() -> np.ndarray:
        return nearest_neighbours(F, NEAREST)

    same = float(np.mean(np.sort(project(), axis=1) == np.sort(theirs(), axis=1)))
    rates = by_turns(project, theirs, rows, repeats)
    return Timing(
        "nearest neighbours", "images/s", "scikit-learn's exact search", *rates, goal=1.0,
        note=f"{rows:,} x {SIZE} numbers, {NEAREST} neighbours; {same:.4%} of them are the same",
    )  # fmt: skip
