"""Mutual nearest neighbours of two networks' features."""

from __future__ import annotations

import numpy as np

TINY = float(np.finfo(np.float32).tiny)  # in place of a vector's length 0


def nearest_neighbours(F: np.ndarray, k: int, first: int = 0, last: int | None = None, block: int = 2048) -> np.ndarray:
    """Return the k nearest other rows, by cosine, of the rows `first` to `last` of features (n, d): (last - first, k)
    numbers.

    Keys are taken a block at a time, so that no n x n matrix is held. If rows are equally near, the lower number counts
    as nearer. Raises ValueError unless there are more than k rows.
    """
    n = len(F)
    if not 0 < k < n:
        raise ValueError(f"expected more than k = {k} rows, got {n}")
    last = n if last is None else last
    F = np.asarray(F, np.float32)
    unit = F / np.maximum(np.linalg.norm(F, axis=1, keepdims=True), TINY)
    queries = unit[first:last]
    best = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), n, np.int64)
    for start in range(0, n, block):
        similar = queries @ unit[start : start + block].T
        numbers = np.arange(start, start + similar.shape[1])
        similar[numbers[None] == np.arange(first, last)[:, None]] = -np.inf  # oneself
        similar = np.concatenate([best, similar], 1)
        candidates = np.concatenate([rows, np.broadcast_to(numbers, (len(queries), len(numbers)))], 1)
        order = largest(similar, k)  # what was found before stands first, by number
        best, rows = np.take_along_axis(similar, order, 1), np.take_along_axis(candidates, order, 1)
    return rows


def largest(values: np.ndarray, k: int) -> np.ndarray:
    """Return the places of each row's k largest values (n, m), the largest first: (n, k). Of equal ones the first
    counts as larger.
    """
    least = np.partition(values, values.shape[1] - k, axis=1)[:, -k, None]
    taken = values >= least
    tied = np.flatnonzero(taken.sum(1) > k)  # more than k values are as large as the last one
    for row in tied:
        equal = np.flatnonzero(values[row] == least[row])
        taken[row, equal[k - int((values[row] > least[row]).sum()) :]] = False
    places = np.nonzero(taken)[1].reshape(len(values), k)
    order = np.argsort(-np.take_along_axis(values, places, 1), axis=1, kind="stable")
    return np.take_along_axis(places, order, 1)


def neighbour_overlap(neighbours_A: np.ndarray, neighbours_B: np.ndarray) -> np.ndarray:
    """Return each image's part in the mutual k-nearest-neighbour overlap (Huh et al. 2024, "The Platonic Representation
    Hypothesis", appendix A).

    It is |N_A(i) and N_B(i)| / k, (n,), for row numbers (n, k) of each; its mean is the overlap. Chance gives
    k / (n - 1). Raises ValueError if the arrays do not have the same shape.
    """
    if neighbours_A.shape != neighbours_B.shape:
        raise ValueError(f"expected neighbours of the same rows, got {neighbours_A.shape} and {neighbours_B.shape}")
    shared = (neighbours_A[:, :, None] == neighbours_B[:, None, :]).sum((1, 2))
    return np.asarray(shared / neighbours_A.shape[1])
