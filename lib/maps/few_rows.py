"""Training rows that are fewer than features: all of them are kept, and their products take the place of sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from lib.maps.affine import AffineMap
from lib.maps.moments import SourceMoments, TargetSums, unit_rows
from lib.maps.spectrum import CLEAR, EPSILON, Frame


@dataclass(frozen=True, eq=False)
class FewRows:
    """All training rows of one source and several targets, in float64; coordinates of networks that have a row space.

    Targets have unit length. `part` (n,) is the number of each row's part of the PARTS.
    """

    X: torch.Tensor  # (n, r_A)
    Y: dict[str, torch.Tensor]  # (n, r_B)
    lengths: dict[str, torch.Tensor]  # (n,) |F_B|
    part: torch.Tensor
    size: int  # d_A, the source's features

    @classmethod
    def of(cls, X: torch.Tensor, targets: Mapping[str, torch.Tensor], part: torch.Tensor, size: int) -> FewRows:
        """Take the rows of a source (n, r_A) and of targets (n, r_B)."""
        unit = {name: unit_rows(F) for name, F in targets.items()}
        Y, lengths = ({name: found[k] for name, found in unit.items()} for k in (0, 1))
        return cls(X, Y, lengths, part, size)

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.X.device

    @property
    def targets(self) -> list[str]:
        """The targets' names."""
        return list(self.Y)

    def count(self, part: int) -> int:
        """Return how many rows a part has."""
        return int((self.part == part).sum())

    def like(self, target: str) -> torch.Tensor:
        """Return numbers (r_B,) of the target's size."""
        return self.Y[target][0]

    def source(self, parts: Sequence[int]) -> SourceMoments:
        """Return the source's sums over some of the parts, without targets."""
        X = self.X[self.chosen(parts)]
        return SourceMoments(len(X), X.sum(0), X.T @ X, {})

    def target(self, target: str, parts: Sequence[int]) -> TargetSums:
        """Return one target's sums over some of the parts."""
        chosen = self.chosen(parts)
        Y, lengths = self.Y[target][chosen], self.lengths[target][chosen]
        return TargetSums(float(lengths.sum()), int(torch.count_nonzero(lengths)), Y.sum(0), self.X[chosen].T @ Y)

    def chosen(self, parts: Sequence[int]) -> torch.Tensor:
        """Return which rows are in some of the parts, (n,) bool."""
        return torch.isin(self.part, torch.as_tensor(list(parts), device=self.part.device))

    def among(self, parts: Sequence[int]) -> SomeRows:
        """Return the rows of some parts, centred, with the products of any two."""
        chosen = self.chosen(parts)
        X = self.X[chosen]
        mean_x = X.mean(0)
        centred = X - mean_x
        rounding = (len(X) + self.size) * EPSILON * float(X.square().sum())
        return SomeRows(self, chosen, mean_x, centred, centred @ centred.T, rounding)


@dataclass(frozen=True, eq=False)
class SomeRows:
    """Some of the training rows, from which maps to each of the targets are fitted."""

    rows: FewRows
    chosen: torch.Tensor  # (all rows,) bool
    mean_x: torch.Tensor  # (r_A,)
    centred: torch.Tensor  # (n, r_A)
    products: torch.Tensor  # (n, n): centred centred^T
    rounding: float  # how far rounding can move an eigenvalue of the products

    def map(self, target: str, ridge: float) -> AffineMap | None:
        """Return the map of lib.maps.ridge.least_squares between coordinates; None if the ridge is lost in rounding.

        With X and Y the centred rows and K = X X^T, W = Y^T X (X^T X + lambda)^-1 = Y^T (K + lambda)^-1 X, the dual
        form of ridge regression (Saunders, Gammerman and Vovk 1998, "Ridge regression learning algorithm in dual
        variables"). The map keeps W as these two factors.
        """
        penalty = ridge * float(self.products.trace()) / self.rows.size
        if penalty <= CLEAR * self.rounding:
            return None
        Y, lengths = self.rows.Y[target][self.chosen], self.rows.lengths[target][self.chosen]
        mean_y = Y.mean(0)
        K = self.products.clone()
        K.diagonal().add_(penalty)
        weights = torch.cholesky_solve(Y - mean_y, torch.linalg.cholesky(K))
        length = float(lengths.sum()) / max(int(torch.count_nonzero(lengths)), 1)
        return Frame(self.mean_x, mean_y, length, None, None).coordinate_map(weights.T, self.centred)
