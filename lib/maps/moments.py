"""Sums over images from which closed-form maps are made. They merge, so one pass over any number of rows is enough."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the rows of one pair, in float64. x is the source A's raw feature row, y the target B's row at unit
    length.

    y has unit length because the experiment's error, E = || x/|x| - y/|y| ||^2, does not depend on lengths. What E
    leaves open is kept as one number, `length`, the sum of B's lengths. A target row of length zero stays zero. Parts
    of the rows merge with +, in any order; the order changes no more than the last bits.
    """

    n: int
    length: float  # sum of |F_B|
    x: np.ndarray  # (d_A,) sum of x
    y: np.ndarray  # (d_B,) sum of y
    XX: np.ndarray  # (d_A, d_A) sum of x x^T
    XY: np.ndarray  # (d_A, d_B) sum of x y^T
    YY: np.ndarray  # (d_B, d_B) sum of y y^T

    @classmethod
    def of(cls, F_A: np.ndarray, F_B: np.ndarray) -> Moments:
        """Sum over features (n, d_A) and (n, d_B) of the same images. Raises ValueError on other shapes, NaN and
        infinity.
        """
        rows = _checked({"A": F_A, "B": F_B})
        X, (Y, lengths) = rows["A"], _unit_rows(rows["B"])
        return cls(len(X), float(lengths.sum()), X.sum(0), Y.sum(0), X.T @ X, X.T @ Y, Y.T @ Y)

    @classmethod
    def empty(cls, d_A: int, d_B: int) -> Moments:
        """Return the sums over no rows."""
        return cls.of(np.empty((0, d_A)), np.empty((0, d_B)))

    def __add__(self, other: Moments) -> Moments:
        """Return the sums over the rows of both. Raises ValueError if their feature sizes differ."""
        if self.XY.shape != other.XY.shape:
            raise ValueError(f"expected moments of one pair, got sizes {self.XY.shape} and {other.XY.shape}")
        return Moments(
            self.n + other.n,
            self.length + other.length,
            self.x + other.x,
            self.y + other.y,
            self.XX + other.XX,
            self.XY + other.XY,
            self.YY + other.YY,
        )

    def about(self, x0: np.ndarray, y0: np.ndarray) -> Moments:
        """Return the sums over the same rows, with x - x0 in place of x and y - y0 in place of y. `length` stays."""
        return Moments(
            self.n,
            self.length,
            self.x - self.n * x0,
            self.y - self.n * y0,
            _about(self.XX, self.x, self.x, x0, x0, self.n),
            _about(self.XY, self.x, self.y, x0, y0, self.n),
            _about(self.YY, self.y, self.y, y0, y0, self.n),
        )

    def mean_length(self) -> float:
        """Return the mean |F_B| of the rows that have a length. Valid only for the original sums, not for those of
        `about`.
        """
        with_length = round(float(np.trace(self.YY)))  # |y|^2 is 1, or 0 for a row of zeros
        return self.length / max(with_length, 1)


@dataclass(frozen=True, eq=False)
class JointMoments:
    """Sums over the same rows of several networks, enough for every ordered pair. What pairs share is summed once.

    N networks take N(N + 1) matrices, where N(N - 1) separate `Moments` would take 3 N(N - 1). At d = 2048 each matrix
    has 32 MiB and takes 2 n d^2 operations. Parts of the rows merge with +.
    """

    n: int
    length: dict[str, float]  # sum of |F|
    raw: dict[str, np.ndarray]  # (d,) sum of F
    unit: dict[str, np.ndarray]  # (d,) sum of F/|F|
    raw_raw: dict[str, np.ndarray]  # (d, d)
    unit_unit: dict[str, np.ndarray]  # (d, d)
    raw_unit: dict[tuple[str, str], np.ndarray]  # (source, target): (d_source, d_target)

    @classmethod
    def of(cls, features: dict[str, np.ndarray]) -> JointMoments:
        """Sum over features (n, d) of each network; row i of all belongs to the same image. Raises ValueError as
        Moments.of.
        """
        raw = _checked(features)
        unit, lengths = {}, {}
        for name, F in raw.items():
            unit[name], lengths[name] = _unit_rows(F)
        return cls(
            n=len(next(iter(raw.values()))),
            length={name: float(lengths[name].sum()) for name in raw},
            raw={name: F.sum(0) for name, F in raw.items()},
            unit={name: F.sum(0) for name, F in unit.items()},
            raw_raw={name: F.T @ F for name, F in raw.items()},
            unit_unit={name: F.T @ F for name, F in unit.items()},
            raw_unit={(source, target): raw[source].T @ unit[target] for source, target in permutations(raw, 2)},
        )

    @classmethod
    def empty(cls, sizes: dict[str, int]) -> JointMoments:
        """Return the sums over no rows; `sizes` maps network name to d."""
        return cls.of({name: np.empty((0, d)) for name, d in sizes.items()})

    def sizes(self) -> dict[str, int]:
        """Return each network's feature size d."""
        return {name: len(F) for name, F in self.raw.items()}

    def __add__(self, other: JointMoments) -> JointMoments:
        """Return the sums over the rows of both. Raises ValueError if their networks differ."""
        if self.sizes() != other.sizes():
            raise ValueError(f"expected moments of the same networks, got {self.sizes()} and {other.sizes()}")
        return JointMoments(
            n=self.n + other.n,
            length={name: self.length[name] + other.length[name] for name in self.length},
            raw={name: self.raw[name] + other.raw[name] for name in self.raw},
            unit={name: self.unit[name] + other.unit[name] for name in self.unit},
            raw_raw={name: self.raw_raw[name] + other.raw_raw[name] for name in self.raw_raw},
            unit_unit={name: self.unit_unit[name] + other.unit_unit[name] for name in self.unit_unit},
            raw_unit={pair: self.raw_unit[pair] + other.raw_unit[pair] for pair in self.raw_unit},
        )

    def pair(self, source: str, target: str) -> Moments:
        """Return one pair's sums without copying. Raises ValueError if there is no such pair."""
        if (source, target) not in self.raw_unit:
            raise ValueError(f"expected two of {sorted(self.raw)}, got {source!r} and {target!r}")
        return Moments(
            n=self.n,
            length=self.length[target],
            x=self.raw[source],
            y=self.unit[target],
            XX=self.raw_raw[source],
            XY=self.raw_unit[source, target],
            YY=self.unit_unit[target],
        )


def _about(UV: np.ndarray, u: np.ndarray, v: np.ndarray, u0: np.ndarray, v0: np.ndarray, n: int) -> np.ndarray:
    """Return the sum of (u - u0)(v - v0)^T = sum u v^T - u0 (sum v)^T - (sum u) v0^T + n u0 v0^T."""
    return UV - np.outer(u0, v) - np.outer(u - n * u0, v0)


def _checked(features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the features as float64, so that sums over millions of rows stay exact enough. One NaN would spoil them
    all.
    """
    shapes = {name: np.shape(F) for name, F in features.items()}
    if not features or any(len(shape) != 2 for shape in shapes.values()) or len({s[0] for s in shapes.values()}) != 1:
        raise ValueError(f"expected features (n, d) with one n for all networks, got {shapes}")
    rows = {name: np.asarray(F, np.float64) for name, F in features.items()}
    for name, F in rows.items():
        if not np.isfinite(F).all():
            raise ValueError(f"expected finite features, {name!r} has NaN or infinity")
    return rows


def _unit_rows(F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows (n, d) at unit length, and their lengths (n,) before. Rows of length zero stay zero."""
    lengths = np.linalg.norm(F, axis=1)
    return F / np.where(lengths > 0, lengths, 1)[:, None], lengths
