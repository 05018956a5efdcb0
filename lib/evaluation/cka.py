"""Linear CKA of two networks' features, and the directions of one's, from sums that merge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from lib.evaluation.neighbours import TINY


@dataclass(frozen=True, eq=False)
class Directions:
    """Where a network's feature vectors point, from n images."""

    n: int
    unit: np.ndarray  # (d,) sum of F/|F|
    directed: int  # rows that aren't zero


@dataclass(frozen=True, eq=False)
class CrossSums:
    """Sums over the same rows of several networks' raw features, enough for linear CKA and R^2 of some pairs."""

    n: int
    first: dict[str, np.ndarray]  # (d,) sum of F
    second: dict[tuple[str, str], np.ndarray]  # (a, b): (d_a, d_b) sum of F_a F_b^T
    unit: dict[str, np.ndarray]  # (d,) sum of F/|F|
    directed: dict[str, int]  # rows that aren't zero

    @classmethod
    def of(cls, features: Mapping[str, np.ndarray], pairs: Iterable[tuple[str, str]] | None = None) -> CrossSums:
        """Sum over features (n, d) of each network; row i of all belongs to the same image.

        `pairs` are those whose CKA is asked for; None means all. Their products take d_a x d_b numbers each.
        """
        rows = {name: np.asarray(F, np.float64) for name, F in features.items()}
        if len({len(F) for F in rows.values()}) != 1:
            raise ValueError(f"expected features of the same images, got {[F.shape for F in rows.values()]}")
        wanted = set(combinations_with_replacement(rows, 2) if pairs is None else pairs) | {(a, a) for a in rows}
        return cls(
            n=len(next(iter(rows.values()))),
            first={name: F.sum(0) for name, F in rows.items()},
            second={(a, b): rows[a].T @ rows[b] for a, b in sorted(wanted)},
            unit={name: (F / np.maximum(np.linalg.norm(F, axis=1), TINY)[:, None]).sum(0) for name, F in rows.items()},
            directed={name: int(F.any(1).sum()) for name, F in rows.items()},
        )

    def __add__(self, other: CrossSums) -> CrossSums:
        """Return the sums over the rows of both."""
        return CrossSums(
            self.n + other.n,
            {name: self.first[name] + other.first[name] for name in self.first},
            {pair: self.second[pair] + other.second[pair] for pair in self.second},
            {name: self.unit[name] + other.unit[name] for name in self.unit},
            {name: self.directed[name] + other.directed[name] for name in self.directed},
        )

    def directions(self, name: str) -> Directions:
        """Return where one network's feature vectors point."""
        return Directions(self.n, self.unit[name], self.directed[name])

    def cka(self, a: str, b: str) -> float | None:
        """Return linear CKA (Kornblith et al. 2019, table 1): |X^T Y|^2 / (|X^T X| |Y^T Y|), X and Y centred, Frobenius
        norms.

        It lies in 0..1 and does not change if features are rotated or isotropically scaled. It is None if one network's
        features are constant.
        """
        if self._constant(a) or self._constant(b):
            return None
        return self._norm(a, b) / float(np.sqrt(self._norm(a, a) * self._norm(b, b)))

    def _norm(self, a: str, b: str) -> float:
        """Return |X^T Y|^2 of the centred features."""
        sums = self.second[a, b] if (a, b) in self.second else self.second[b, a].T
        return float(np.square(sums - np.outer(self.first[a], self.first[b]) / self.n).sum())

    def _constant(self, name: str) -> bool:
        """Return whether centring leaves no more than rounding."""
        uncentred = float(np.square(self.second[name, name]).sum())
        return bool(self._norm(name, name) <= (self.n * np.finfo(np.float64).eps) ** 2 * uncentred)
