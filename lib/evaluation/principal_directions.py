"""Which part of the target's feature space a map reaches: R^2 by principal direction."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lib.maps.decompositions import eigh


@dataclass(frozen=True)
class Band:
    """Neighbouring principal directions of a target's features, and how well mapped features meet them."""

    first: int  # of the directions, from 1, that with the most variance
    last: int
    variance: float  # the band's share of the features' variance, 0..1
    r2: float


class PrincipalDirections:
    """The principal directions of a network's unit vectors (n, d), in bands 1, 2, 3 to 4, 5 to 8, and so on.

    Directions in which the vectors do not vary are in no band.
    """

    def __init__(self, own: torch.Tensor) -> None:
        centred = own.double() - own.double().mean(0)
        values, vectors = eigh(centred.T @ centred)
        values, vectors = values.flip(0), vectors.flip(1)
        reached = int((values > len(values) * torch.finfo(torch.float64).eps * values[:1].sum()).sum())
        self.own, self.variances, self.vectors = own, values[:reached], vectors[:, :reached]

    @property
    def edges(self) -> list[tuple[int, int]]:
        """The first direction of each band and the first behind it, from 0."""
        reached = len(self.variances)
        starts = [0, *(1 << power for power in range(reached.bit_length()) if 1 << power < reached)]
        return list(zip(starts, [*starts[1:], reached], strict=True)) if reached else []

    def bands(self, mapped: torch.Tensor) -> list[Band]:
        """Return R^2 of mapped unit vectors (n, d) in each band: 1 - sum_i (v . (y_i - x_i))^2 / sum_i (v . (y_i -
        mean y))^2, the sums also over the band's directions v.

        1 is a perfect map; 0 is what the mean vector would get.
        """
        errors = ((self.own.double() - mapped.double()) @ self.vectors).square().sum(0)
        total = float(self.variances.sum())
        return [
            Band(
                first + 1,
                end,
                float(self.variances[first:end].sum()) / total,
                1 - float(errors[first:end].sum() / self.variances[first:end].sum()),
            )
            for first, end in self.edges
        ]
