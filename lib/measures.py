"""Measures of two representations beside the loss, on the same images; each from sums or blocks that merge."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

TINY = float(np.finfo(np.float32).tiny)  # in place of a vector's length 0


def explained(unit: np.ndarray, n: int, mean_error: float, directed: int | None = None) -> float | None:
    """R^2 of mapped features at unit length: 1 - sum |y^ - x^|^2 / sum |y^ - mean y^|^2, hats for unit length.

    `unit` is the sum of y^ over n images, `mean_error` the mean E, which is |y^ - x^|^2. 1 is a perfect map, 0 as good
    as always answering the mean direction; maps may be worse than that. None where all y^ are the same. `directed` is
    how many y^ have a direction (of a feature vector of zeros y^ is zero), all of them unless given.
    """
    # sum |y^ - mean|^2 = sum |y^|^2 - n |mean|^2, and |y^| is 1 or 0
    spread = (n if directed is None else directed) - float(unit @ unit) / n
    return 1 - n * mean_error / spread if spread > n * 1e-12 else None


def cosine(mean_error: float) -> float:
    """Mean cosine between mapped and own features: E = 2 - 2 cos of each image, and so of the means."""
    return 1 - mean_error / 2


@dataclass(frozen=True, eq=False)
class CrossSums:
    """Sums over the same rows of several networks' raw features, enough for linear CKA and R^2 of every pair."""

    n: int
    first: dict[str, np.ndarray]  # (d,) sum of F
    second: dict[tuple[str, str], np.ndarray]  # (a, b), a before b: (d_a, d_b) sum of F_a F_b^T
    unit: dict[str, np.ndarray]  # (d,) sum of F/|F|
    directed: dict[str, int]  # rows that aren't zero

    @classmethod
    def of(cls, features: dict[str, np.ndarray]) -> CrossSums:
        """(n, d) features of each network, row i of all of the same image."""
        rows = {name: np.asarray(F, np.float64) for name, F in features.items()}
        if len({len(F) for F in rows.values()}) != 1:
            raise ValueError(f"expected features of the same images, got {[F.shape for F in rows.values()]}")
        return cls(
            n=len(next(iter(rows.values()))),
            first={name: F.sum(0) for name, F in rows.items()},
            second={(a, b): rows[a].T @ rows[b] for a, b in combinations_with_replacement(rows, 2)},
            unit={name: (F / np.maximum(np.linalg.norm(F, axis=1), TINY)[:, None]).sum(0) for name, F in rows.items()},
            directed={name: int(F.any(1).sum()) for name, F in rows.items()},
        )

    def __add__(self, other: CrossSums) -> CrossSums:
        return CrossSums(
            self.n + other.n,
            {name: self.first[name] + other.first[name] for name in self.first},
            {pair: self.second[pair] + other.second[pair] for pair in self.second},
            {name: self.unit[name] + other.unit[name] for name in self.unit},
            {name: self.directed[name] + other.directed[name] for name in self.directed},
        )

    def cka(self, a: str, b: str) -> float | None:
        """Linear CKA (Kornblith et al. 2019, table 1): |X^T Y|^2 / (|X^T X| |Y^T Y|), X and Y centred, Frobenius norms.

        0 to 1; equal for rotated and for isotropically scaled features. None where one of them is constant.
        """
        if self._constant(a) or self._constant(b):
            return None
        return self._norm(a, b) / float(np.sqrt(self._norm(a, a) * self._norm(b, b)))

    def _norm(self, a: str, b: str) -> float:
        """|X^T Y|^2 of the centred features."""
        sums = self.second[a, b] if (a, b) in self.second else self.second[b, a].T
        return float(np.square(sums - np.outer(self.first[a], self.first[b]) / self.n).sum())

    def _constant(self, name: str) -> bool:
        """Whether what centring leaves is no more than rounding."""
        uncentred = float(np.square(self.second[name, name]).sum())
        return bool(self._norm(name, name) <= (self.n * np.finfo(np.float64).eps) ** 2 * uncentred)


def sample(image_ids: list[str], rows: int) -> np.ndarray:
    """Row numbers of so many images, chosen by their ids' checksums: the same images in whatever order they come."""
    checksums = np.array([zlib.crc32(image_id.encode()) for image_id in image_ids])
    return np.lexsort((np.asarray(image_ids, str), checksums))[:rows]


def nearest(F: np.ndarray, k: int, first: int = 0, last: int | None = None, block: int = 2048) -> np.ndarray:
    """The k nearest other rows, by cosine, of the rows `first` to `last` of (n, d) features: (last - first, k) numbers.

    Keys are taken a block at a time, so that no n x n matrix is held. Of equally near rows the lower number counts as
    nearer. Raises ValueError unless there are more than k rows.
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
        order = np.argsort(-similar, axis=1, kind="stable")[:, :k]  # what was found before stands first, by number
        best, rows = np.take_along_axis(similar, order, 1), np.take_along_axis(candidates, order, 1)
    return rows


def overlap(neighbours_A: np.ndarray, neighbours_B: np.ndarray) -> float:
    """Mutual k-nearest-neighbour overlap (Huh et al. 2024, "The Platonic Representation Hypothesis", appendix A).

    Mean over the images of |N_A(i) and N_B(i)| / k, of (n, k) row numbers of each; by chance it is k / (n - 1).
    """
    if neighbours_A.shape != neighbours_B.shape:
        raise ValueError(f"expected neighbours of the same rows, got {neighbours_A.shape} and {neighbours_B.shape}")
    shared = (neighbours_A[:, :, None] == neighbours_B[:, None, :]).sum((1, 2))
    return float(shared.mean() / neighbours_A.shape[1])
