"""Linear CKA of two networks' features, and the directions of one's, from sums that merge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
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
class Crossed:
    """Sums of one pair that take the diagonal out of its kernels, for unbiased CKA."""

    norms: float  # sum of |F_a|^2 |F_b|^2
    first: np.ndarray  # (d_a,) sum of F_a |F_b|^2
    other: np.ndarray  # (d_b,) sum of F_b |F_a|^2

    def __add__(self, other: Crossed) -> Crossed:
        """Return the sums over the rows of both."""
        return Crossed(self.norms + other.norms, self.first + other.first, self.other + other.other)


@dataclass(frozen=True, eq=False)
class CrossSums:
    """Sums over the same rows of several networks' raw features, enough for linear CKA and R^2 of some pairs."""

    n: int
    first: dict[str, np.ndarray]  # (d,) sum of F
    second: dict[tuple[str, str], np.ndarray]  # (a, b): (d_a, d_b) sum of F_a F_b^T
    crossed: dict[tuple[str, str], Crossed]  # of the same pairs
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
        squares = {name: np.square(F).sum(1) for name, F in rows.items()}
        return cls(
            n=len(next(iter(rows.values()))),
            first={name: F.sum(0) for name, F in rows.items()},
            second={(a, b): rows[a].T @ rows[b] for a, b in sorted(wanted)},
            crossed={
                (a, b): Crossed(float(squares[a] @ squares[b]), squares[b] @ rows[a], squares[a] @ rows[b])
                for a, b in sorted(wanted)
            },
            unit={name: (F / np.maximum(np.linalg.norm(F, axis=1), TINY)[:, None]).sum(0) for name, F in rows.items()},
            directed={name: int(F.any(1).sum()) for name, F in rows.items()},
        )

    def __add__(self, other: CrossSums) -> CrossSums:
        """Return the sums over the rows of both."""
        return CrossSums(
            self.n + other.n,
            {name: self.first[name] + other.first[name] for name in self.first},
            {pair: self.second[pair] + other.second[pair] for pair in self.second},
            {pair: self.crossed[pair] + other.crossed[pair] for pair in self.crossed},
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
        return float(np.square(self.centred(a, b)).sum()) / float(np.sqrt(self.own[a] * self.own[b]))

    def unbiased_cka(self, a: str, b: str) -> float | None:
        """Return CKA with the unbiased estimate of HSIC in each place (Song et al. 2012, "Feature selection via
        dependence maximization", equation 5): near 0 for unrelated features however few the rows are.

        Few rows of many features make `cka` large by chance alone. The result may be a little below 0. It is None as
        `cka` is, for fewer than four rows, and if an estimate for one network alone is not positive.
        """
        if self.n < 4 or self._constant(a) or self._constant(b):
            return None
        alone = self.own_hsic[a], self.own_hsic[b]
        return self._hsic(a, b) / float(np.sqrt(alone[0] * alone[1])) if min(alone) > 0 else None

    @cached_property
    def own_hsic(self) -> dict[str, float]:
        """The estimate for each network alone."""
        return {name: self._hsic(name, name) for name in self.first}

    def _hsic(self, a: str, b: str) -> float:
        """Return the unbiased estimate of HSIC, up to the factor 1 / (n (n - 3))."""
        # With K = X X^T and L = Y Y^T whose diagonals are taken out, r = K 1 and s = L 1:
        #   tr(K L) + (1^T r)(1^T s) / ((n - 1)(n - 2)) - 2 r^T s / (n - 2),
        # r_i = x_i . sum x - |x_i|^2, so that all comes from sums over the rows.
        n, pair = self.n, (a, b) if (a, b) in self.second else (b, a)
        (x, y), XY, crossed = (self.first[name] for name in pair), self.second[pair], self.crossed[pair]
        squares = {name: float(np.trace(self.second[name, name])) for name in pair}
        r, s = float(x @ x) - squares[pair[0]], float(y @ y) - squares[pair[1]]
        both = float(x @ XY @ y - x @ crossed.first - y @ crossed.other) + crossed.norms
        return float(np.square(XY).sum()) - crossed.norms + r * s / ((n - 1) * (n - 2)) - 2 * both / (n - 2)

    def centred(self, a: str, b: str) -> np.ndarray:
        """Return X^T Y of the centred features, (d_a, d_b)."""
        sums = self.second[a, b] if (a, b) in self.second else self.second[b, a].T
        return np.asarray(sums - np.outer(self.first[a], self.first[b]) / self.n)

    @cached_property
    def own(self) -> dict[str, float]:
        """|X^T X|^2 of each network's centred features, of which all its pairs have need."""
        return {name: float(np.square(self.centred(name, name)).sum()) for name in self.first}

    def _constant(self, name: str) -> bool:
        """Return whether centring leaves no more than rounding."""
        return bool(self.own[name] <= (self.n * np.finfo(np.float64).eps) ** 2 * self.uncentred[name])

    @cached_property
    def uncentred(self) -> dict[str, float]:
        """|X^T X|^2 of each network's features as they are."""
        return {name: float(np.square(self.second[name, name]).sum()) for name in self.first}
