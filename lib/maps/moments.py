"""Sums over images from which closed-form maps are made. They merge, so one pass over any number of rows is enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

Features = np.ndarray | torch.Tensor  # (n, d), of any floating type


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the rows of one pair, in float64. x is the source A's raw feature row, y the target B's row at unit
    length.

    y has unit length because the experiment's error, E = || x/|x| - y/|y| ||^2, does not depend on lengths. What E
    leaves open is kept as one number, `length`, the sum of B's lengths. A target row of length zero stays zero. Parts
    of the rows merge with +, in any order; the order changes no more than the last bits.

    If `space` (d_A, r) is there, its columns are orthonormal and span all source rows; x then has their r coordinates
    in it (lib.maps.row_space). So has y in `target_space` (d_B, r).
    """

    n: int
    length: float  # sum of |F_B|
    with_length: int  # rows of B that are not zero
    x: torch.Tensor  # (d_A,) sum of x
    y: torch.Tensor  # (d_B,) sum of y
    XX: torch.Tensor  # (d_A, d_A) sum of x x^T
    XY: torch.Tensor  # (d_A, d_B) sum of x y^T
    space: torch.Tensor | None = None
    target_space: torch.Tensor | None = None

    @classmethod
    def of(cls, F_A: Features, F_B: Features) -> Moments:
        """Sum over features (n, d_A) and (n, d_B) of the same images. Raises ValueError on other shapes, NaN and
        infinity.
        """
        return SourceMoments.of(F_A, {"B": F_B}).pair("B")

    @classmethod
    def empty(cls, d_A: int, d_B: int) -> Moments:
        """Return the sums over no rows."""
        return cls.of(torch.empty(0, d_A), torch.empty(0, d_B))

    def __add__(self, other: Moments) -> Moments:
        """Return the sums over the rows of both. Raises ValueError if their feature sizes differ."""
        if self.XY.shape != other.XY.shape:
            sizes = f"{tuple(self.XY.shape)} and {tuple(other.XY.shape)}"
            raise ValueError(f"expected moments of one pair, got sizes {sizes}")
        return Moments(
            self.n + other.n,
            self.length + other.length,
            self.with_length + other.with_length,
            self.x + other.x,
            self.y + other.y,
            self.XX + other.XX,
            self.XY + other.XY,
            self.space,
            self.target_space,
        )

    @property
    def d_A(self) -> int:
        """The source's feature size."""
        return len(self.x) if self.space is None else len(self.space)

    @property
    def d_B(self) -> int:
        """The target's feature size."""
        return len(self.y) if self.target_space is None else len(self.target_space)

    def XX_about(self, x0: torch.Tensor) -> torch.Tensor:
        """Return XX of the same rows with x - x0 in place of x, (d_A, d_A)."""
        return _about(self.XX, self.x, self.x, x0, x0, self.n)

    def XY_about(self, x0: torch.Tensor, y0: torch.Tensor) -> torch.Tensor:
        """Return XY of the same rows with x - x0 in place of x and y - y0 in place of y, (d_A, d_B)."""
        return _about(self.XY, self.x, self.y, x0, y0, self.n)

    def mean_length(self) -> float:
        """Return the mean |F_B| of the rows that have a length."""
        return self.length / max(self.with_length, 1)


@dataclass(frozen=True, eq=False)
class TargetSums:
    """Sums over the rows of one target, beside those of a source."""

    length: float  # sum of |F_B|
    with_length: int  # rows that are not zero
    y: torch.Tensor  # (d_B,)
    XY: torch.Tensor  # (d_A, d_B)

    def __add__(self, other: TargetSums) -> TargetSums:
        """Return the sums over the rows of both."""
        return TargetSums(
            self.length + other.length, self.with_length + other.with_length, self.y + other.y, self.XY + other.XY
        )

    def absorb(self, other: TargetSums) -> TargetSums:
        """Return the sums over the rows of both, in the memory of this one."""
        length, with_length = self.length + other.length, self.with_length + other.with_length
        return TargetSums(length, with_length, self.y.add_(other.y), self.XY.add_(other.XY))


@dataclass(frozen=True, eq=False)
class SourceMoments:
    """Sums over the same rows of one source A and several targets, enough for each pair. What pairs share is summed
    once.

    They take d_A^2 + d_A (d_1 + ... + d_k) numbers of 8 bytes. Parts of the rows merge with +.
    """

    n: int
    x: torch.Tensor  # (d_A,)
    XX: torch.Tensor  # (d_A, d_A)
    targets: dict[str, TargetSums]

    @classmethod
    def of(cls, F_A: Features, targets: Mapping[str, Features], device: torch.device | str = "cpu") -> SourceMoments:
        """Sum over the source's features (n, d_A) and each target's (n, d_B) of the same images, on this device.

        Raises ValueError as Moments.of.
        """
        X, *others = _checked([F_A, *targets.values()], ["the source", *map(repr, targets)], device)
        sums = {}
        for name, rows in zip(targets, others, strict=True):
            Y, lengths = unit_rows(rows)
            sums[name] = TargetSums(float(lengths.sum()), int(torch.count_nonzero(lengths)), Y.sum(0), X.T @ Y)
        return cls(len(X), X.sum(0), X.T @ X, sums)

    def __add__(self, other: SourceMoments) -> SourceMoments:
        """Return the sums over the rows of both. Raises ValueError if their targets differ."""
        self._check(other)
        targets = {name: sums + other.targets[name] for name, sums in self.targets.items()}
        return SourceMoments(self.n + other.n, self.x + other.x, self.XX + other.XX, targets)

    def absorb(self, other: SourceMoments) -> SourceMoments:
        """Return the sums over the rows of both, in the memory of this one, which is then of no more use.

        Raises ValueError if their targets differ.
        """
        self._check(other)
        targets = {name: sums.absorb(other.targets[name]) for name, sums in self.targets.items()}
        return SourceMoments(self.n + other.n, self.x.add_(other.x), self.XX.add_(other.XX), targets)

    def _check(self, other: SourceMoments) -> None:
        if self.targets.keys() != other.targets.keys():
            raise ValueError(f"expected the same targets, got {sorted(self.targets)} and {sorted(other.targets)}")

    def pair(self, target: str, space: torch.Tensor | None = None, target_space: torch.Tensor | None = None) -> Moments:
        """Return one pair's sums without copying; the spaces are what the rows were compressed to."""
        sums = self.targets[target]
        return Moments(self.n, sums.length, sums.with_length, self.x, sums.y, self.XX, sums.XY, space, target_space)


def absorb_parts(total: list[SourceMoments], found: Iterable[SourceMoments]) -> None:
    """Add the sums of each part of some rows to the `total` of that part, in its memory; `total` is empty at first.

    The parts are taken one at a time, since the sums of one are as large as its total.
    """
    for place, part in enumerate(found):
        if place == len(total):
            total.append(part)
        else:
            total[place] = total[place].absorb(part)


def float64_rows(F: Features, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return features, or a classifier's numbers, as float64 on the device."""
    tensor = F if isinstance(F, torch.Tensor) else torch.tensor(F)  # a copy, since Arrow's memory can't be written to
    return tensor.to(device, torch.float64)


def _about(
    UV: torch.Tensor, u: torch.Tensor, v: torch.Tensor, u0: torch.Tensor, v0: torch.Tensor, n: int
) -> torch.Tensor:
    """Return the sum of (u - u0)(v - v0)^T = sum u v^T - u0 (sum v)^T - (sum u) v0^T + n u0 v0^T."""
    return (UV - torch.outer(u0, v)).sub_(torch.outer(u - n * u0, v0))


def _checked(features: Sequence[Features], names: list[str], device: torch.device | str) -> list[torch.Tensor]:
    """Return the features as float64, so that sums over millions of rows stay exact enough. One NaN would spoil them
    all.
    """
    shapes = [tuple(F.shape) for F in features]
    if any(len(shape) != 2 for shape in shapes) or len({shape[0] for shape in shapes}) != 1:
        raise ValueError(f"expected features (n, d) with one n for all networks, got {shapes}")
    rows = [float64_rows(F, device) for F in features]
    for name, F in zip(names, rows, strict=True):
        if not torch.isfinite(F).all():
            raise ValueError(f"expected finite features, {name} has NaN or infinity")
    return rows


def unit_rows(F: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows (n, d) at unit length, and their lengths (n,) before. Rows of length zero stay zero."""
    lengths = torch.linalg.norm(F, dim=1)
    return F / torch.where(lengths > 0, lengths, 1)[:, None], lengths
