"""Whether losses on val hold on another set: differences of two losses of one direction, and correlation over all.

Both losses are of the same map and the same networks. What the map's training images and random numbers did is
therefore in both, and is in no interval here: intervals cover the evaluation images. Two sets of different images are
independent samples of these; one set of images under two labellings is not.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from lib.evaluation.losses import adjusted_loss, holm, loss_variance
from lib.evaluation.results import Correlation, MappingResults, SetMappingResults, ShiftResults

LEVEL = 0.05
EVERY = 6  # networks whose permutations are all looked at, 720
RANDOM = 1000  # permutations of more networks
Changes = tuple[np.ndarray, np.ndarray]  # ids (n,), and 1 where an image was broken, -1 where fixed, else 0, (n,)


def paired_variance(one: Changes, other: Changes) -> float:
    """Return the variance of the difference of two losses, in squared points, if some images are in both.

    A loss is the mean of the changes d_i over its n images, so the difference is a sum over images of
    d_i / n - e_i / m, with one of the terms 0 where an image is in one set alone. With a = (d_i - mean) / n and
    b = (e_i - mean) / m its variance is sum (a - b)^2.
    """
    (ids, changes), (other_ids, other_changes) = one, other
    a, b = ((found - found.mean()) / len(found) for found in (changes, other_changes))
    place = pc.index_in(pa.array(ids, pa.string()), value_set=pa.array(other_ids, pa.string()))
    both = place.is_valid().to_numpy(zero_copy_only=False)
    together = float(a[both] @ b[place.drop_null().to_numpy()])
    return max(0.0, 1e4 * (float(a @ a) + float(b @ b) - 2 * together))


def shift_of(mapping: SetMappingResults, on_val: MappingResults, directions: int) -> ShiftResults:
    """Return how one direction's loss on a set differs from its loss on val, one of so many `directions`.

    Without a `paired_variance` the sets' images are independent: the interval is about the difference of Bonett and
    Price's estimates (lib.evaluation.losses), and the variances add up.
    """
    paired = mapping.get("paired_variance")
    difference = mapping["loss"] - on_val["loss"]
    if paired is None:
        counts = [(of["fixed"], of["broken"], of["total"]) for of in (mapping, on_val)]
        centre = adjusted_loss(*counts[0]) - adjusted_loss(*counts[1])
        deviation = sum(loss_variance(*of) for of in counts) ** 0.5
    else:
        centre, deviation = difference, paired**0.5
    ends = [stats.norm.isf(error / 2) * deviation for error in (LEVEL, LEVEL / directions)]
    return {
        "val_loss": on_val["loss"],
        "difference": difference,
        "difference_ci95": [centre - ends[0], centre + ends[0]],
        "difference_ci95_all": [centre - ends[1], centre + ends[1]],
        "independent": paired is None,
        "p_value": float(2 * stats.norm.sf(abs(centre) / deviation)) if deviation > 0 else float(difference == 0),
    }


def add_shifts(mappings: Sequence[SetMappingResults], on_val: Mapping[tuple[str, str], MappingResults]) -> None:
    """Add to each direction's results on a set how its loss differs from that on val, tested for all at once."""
    for mapping in mappings:
        mapping["shift"] = shift_of(mapping, on_val[mapping["source"], mapping["target"]], len(mappings))
    for mapping, p in zip(mappings, holm([mapping["shift"]["p_value"] for mapping in mappings]), strict=True):
        mapping["shift"]["p_holm"] = p


def correlate(
    networks: Sequence[str],
    on_val: Mapping[tuple[str, str], float],
    on_set: Mapping[tuple[str, str], float],
    seed: int,
) -> Correlation | None:
    """Return how the losses of all directions on val and on a set go together; None for two networks.

    Directions share networks, so they are no independent pairs of numbers. `p` is therefore that of the networks'
    permutations (the quadratic assignment procedure, Hubert and Schultz 1976): how often Pearson's r is as large when
    the networks change their names on one side. All permutations of few networks are looked at, else RANDOM ones.
    """
    if len(networks) < 3:
        return None
    off = ~np.eye(len(networks), dtype=bool)
    x, y = (
        np.array([[losses.get((a, b), np.nan) if a != b else 0.0 for b in networks] for a in networks])
        for losses in (on_val, on_set)
    )
    off &= np.isfinite(x) & np.isfinite(y)
    if off.sum() < 3 or np.ptp(x[off]) == 0 or np.ptp(y[off]) == 0:
        return None
    reached = [_pearson(x, y[np.ix_(order, order)], off) for order in _orders(len(networks), seed)]
    r = _pearson(x, y, off)
    return {
        "pearson": r,
        "spearman": float(stats.spearmanr(x[off], y[off]).statistic),
        "p": float(np.mean([value >= r - 1e-12 for value in reached])),
        "directions": int(off.sum()),
    }


def _orders(count: int, seed: int) -> list[Sequence[int]]:
    """Return orders of the networks, the order as it is first."""
    if count <= EVERY:
        return list(itertools.permutations(range(count)))
    random = np.random.default_rng(seed)
    return [range(count), *(random.permutation(count).tolist() for _ in range(RANDOM))]


def _pearson(x: np.ndarray, y: np.ndarray, off: np.ndarray) -> float:
    """Return r of two matrices where both are chosen and known."""
    chosen = off & np.isfinite(y)
    a, b = x[chosen] - x[chosen].mean(), y[chosen] - y[chosen].mean()
    length = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / length if length > 0 else 0.0
