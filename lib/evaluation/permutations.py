"""How alike two networks' features would look by chance: the same measures with one network's images permuted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lib.evaluation.chance import LEVEL
from lib.evaluation.results import Calibrated

FEWEST = 4  # images, for an unbiased estimate
TOLERANCE = 1e-12  # relative; permutations that change nothing but rounding count as equal


def calibrate(value: float, by_chance: Sequence[float], rows: int) -> Calibrated:
    """Return a measure of so many images, at most 1, beside its values under B permutations.

    The order as it is counts as one of them, so that p is at least 1 / (B + 1). Source of the calibrated value: arXiv
    2602.14486, with the threshold at the ceil(0.95 (B + 1))-th smallest of the B + 1 values.
    """
    found = np.sort([*by_chance, value])
    place = int(np.ceil((1 - LEVEL) * len(found))) - 1
    threshold = float(found[place])
    p = float((found >= value - TOLERANCE * abs(value)).mean())
    calibrated = max(0.0, (value - threshold) / (1 - threshold)) if threshold < 1 else 0.0
    return {"value": value, "p": p, "threshold": threshold, "calibrated": calibrated, "rows": rows}


def centred_kernel(F: np.ndarray) -> np.ndarray:
    """Return the unbiased estimate's kernel of features (n, d): X X^T without its diagonal, U-centred, (n, n).

    Source: Szekely and Rizzo 2014, "Partial distance correlation", definition 2. The inner product of two such kernels
    is the unbiased HSIC of Song et al. 2012 up to a factor. Raises ValueError for fewer than four rows.
    """
    n = len(F)
    if n < FEWEST:
        raise ValueError(f"expected four rows or more, got {n}")
    K = np.asarray(F, np.float64)
    K = K @ K.T
    np.fill_diagonal(K, 0)
    rows = K.sum(1)
    K = K - (rows[:, None] + rows) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(K, 0)
    length = float(np.sqrt(np.square(K).sum()))
    return K / length if length > 0 else K


def permuted(measure: Callable[[np.ndarray], float], n: int, permutations: int, seed: int) -> list[float]:
    """Return a measure of n images under random orders, which it is given, (n,) each."""
    random = np.random.default_rng(seed)
    return [measure(random.permutation(n)) for _ in range(permutations)]


def calibrated_cka(K: np.ndarray, L: np.ndarray, permutations: int, seed: int) -> Calibrated | None:
    """Return unbiased linear CKA of two networks' kernels by `centred_kernel`; None if one network's are constant."""
    if not K.any() or not L.any():
        return None
    values = permuted(lambda order: float(np.vdot(K, L[np.ix_(order, order)])), len(K), permutations, seed)
    return calibrate(float(np.vdot(K, L)), values, len(K))


def calibrated_neighbours(
    neighbours_A: np.ndarray, neighbours_B: np.ndarray, permutations: int, seed: int
) -> Calibrated:
    """Return the mutual nearest-neighbour overlap of row numbers (n, k) of each, beside its values for images permuted.

    A permutation renames the second network's images: the neighbours of image order[i] are those of i, renamed.
    """
    n, k = neighbours_A.shape
    known = np.sort((np.arange(n)[:, None] * n + neighbours_A).ravel())

    def overlap(order: np.ndarray) -> float:
        renamed = (order[:, None] * n + order[neighbours_B]).ravel()
        places = np.searchsorted(known, renamed)
        return float((known[np.minimum(places, len(known) - 1)] == renamed).sum() / (n * k))

    return calibrate(overlap(np.arange(n)), permuted(overlap, n, permutations, seed), n)
