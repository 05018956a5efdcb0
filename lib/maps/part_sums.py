"""Sums over some of the PARTS of the training rows, from the sums over each of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Protocol, Self, TypeVar

import torch

from lib.maps.moments import SourceMoments, TargetSums


class Absorbing(Protocol):
    """Sums that merge."""

    def __add__(self, other: Self, /) -> Self: ...

    def absorb(self, other: Self, /) -> Self: ...


Sums = TypeVar("Sums", bound=Absorbing)


class RowsInParts(Protocol):
    """The training rows of one source and its targets, in parts of which any may be summed."""

    @property
    def device(self) -> torch.device:
        """Where the sums are."""

    @property
    def targets(self) -> list[str]:
        """The targets' names."""

    def count(self, part: int) -> int:
        """Return how many rows a part has."""

    def like(self, target: str) -> torch.Tensor:
        """Return numbers (d_B,) of the target's size."""

    def source(self, parts: Sequence[int]) -> SourceMoments:
        """Return the source's sums over some of the parts, without targets."""

    def target(self, target: str, parts: Sequence[int]) -> TargetSums:
        """Return one target's sums over some of the parts."""


class PartSums:
    """Sums over each part, which merge: what is kept of rows that no memory holds."""

    def __init__(self, parts: Sequence[SourceMoments]) -> None:
        self.parts = parts

    @property
    def device(self) -> torch.device:
        """Where the sums are."""
        return self.parts[0].XX.device

    @property
    def targets(self) -> list[str]:
        """The targets' names."""
        return list(self.parts[0].targets)

    def count(self, part: int) -> int:
        """Return how many rows a part has."""
        return self.parts[part].n

    def like(self, target: str) -> torch.Tensor:
        """Return numbers (d_B,) of the target's size."""
        return self.parts[0].targets[target].y

    def source(self, parts: Sequence[int]) -> SourceMoments:
        """Return the source's sums over some of the parts, without targets."""
        chosen = (self.parts[place] for place in parts)
        return added([SourceMoments(part.n, part.x, part.XX, {}) for part in chosen])

    def target(self, target: str, parts: Sequence[int]) -> TargetSums:
        """Return one target's sums over some of the parts."""
        return added([self.parts[place].targets[target] for place in parts])


def added(sums: Sequence[Sums]) -> Sums:
    """Return the sum of several sums, in their order, in memory of its own unless it is one alone."""
    first, *others = sums
    if not others:
        return first
    return reduce(lambda total, one: total.absorb(one), others[1:], first + others[0])
