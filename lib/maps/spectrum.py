"""Centred sums in the eigenvectors of the source's covariance, in which any ridge is cheap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lib.maps.affine import AffineMap
from lib.maps.decompositions import eigh
from lib.maps.moments import Moments

EPSILON = torch.finfo(torch.float64).eps
CLEAR = 100  # times rounding: a ridge above it makes nothing of directions that no row reaches


@dataclass(frozen=True, eq=False)
class Frame:
    """The means about which a pair's sums are centred, and what leads back from there to the features.

    If there is a `space` (d_A, r) or a `target_space` (d_B, r), the source's or the target's rows and means are
    coordinates in it (lib.maps.row_space).
    """

    mean_x: torch.Tensor  # (d_A,)
    mean_y: torch.Tensor  # (d_B,)
    length: float  # the mean |F_B|
    space: torch.Tensor | None
    target_space: torch.Tensor | None

    @classmethod
    def of(cls, moments: Moments) -> Frame:
        """Return the frame of a pair's sums. Raises ValueError if there are no rows."""
        if moments.n == 0:
            raise ValueError("expected moments of one row or more, got none")
        mean_x, mean_y = moments.x / moments.n, moments.y / moments.n
        return cls(mean_x, mean_y, moments.mean_length(), moments.space, moments.target_space)

    def map(self, *weight: torch.Tensor) -> AffineMap:
        """Return the float32 map x -> length * (W (x - mean_x) + mean_y), for W (d_B, d_A) as the factors of a product.

        The map keeps the factors, with those of the spaces around them.
        """
        factors, bias = self._scaled(weight)
        if self.target_space is not None:
            factors.insert(0, self.target_space)
            bias = self.target_space.double() @ bias
        if self.space is not None:
            factors.append(self.space.T)
        return AffineMap(factors, bias.float())

    def coordinate_map(self, *weight: torch.Tensor) -> AffineMap:
        """Return the same map between the coordinates in the spaces; without spaces it is `map`."""
        factors, bias = self._scaled(weight)
        return AffineMap(factors, bias.float())

    def _scaled(self, weight: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return the weight's factors in float32, and the bias in float64, of targets at their mean length."""
        shift = self.mean_x
        for factor in reversed(weight):
            shift = factor @ shift
        factors = [(self.length * weight[0]).float(), *(factor.float() for factor in weight[1:])]
        return factors, self.length * (self.mean_y - shift)


@dataclass(frozen=True, eq=False)
class Basis:
    """The eigenvectors of a source's covariance: S = centred X^T X = V diag(values) V^T. All its targets share it.

    Eigenvalues within the rounding of the sums are left out with their vectors, since no row reaches there.
    """

    mean_x: torch.Tensor  # (d_A,)
    mean_value: float  # trace(S) / d_A
    values: torch.Tensor  # (r,), r the rank of S
    vectors: torch.Tensor  # (d_A, r)

    @classmethod
    def of(cls, moments: Moments) -> Basis:
        """Decompose the source's sums. Raises ValueError if there are no rows."""
        mean_x = Frame.of(moments).mean_x
        values, V = eigh(moments.XX_about(mean_x))
        reached = values > rounding(moments)
        values, V = values[reached], V[:, reached]
        return cls(mean_x, float(values.sum()) / moments.d_A, values, V)

    def held_out(self, moments: Moments) -> torch.Tensor:
        """Return V^T S_uu V, (r, r), of other rows about the means of those that made the basis."""
        return self.vectors.T @ moments.XX_about(self.mean_x) @ self.vectors


@dataclass(frozen=True, eq=False)
class Spectrum:
    """One pair's centred sums in a source's Basis, in which any ridge is cheap."""

    basis: Basis
    frame: Frame
    cross: torch.Tensor  # (r, d_B): V^T S_xy

    @classmethod
    def of(cls, moments: Moments, basis: Basis | None = None) -> Spectrum:
        """Decompose one pair's sums, unless the source's `basis` is known. Raises ValueError if there are no rows."""
        basis, frame = basis or Basis.of(moments), Frame.of(moments)
        return cls(basis, frame, basis.vectors.T @ moments.XY_about(basis.mean_x, frame.mean_y))

    def penalised(self, ridge: float) -> torch.Tensor:
        """Return the eigenvalues of S + lambda, (r,). Raises ValueError if the ridge is negative."""
        if not ridge >= 0:
            raise ValueError(f"expected a ridge of 0 or more, got {ridge}")
        return self.basis.values + ridge * self.basis.mean_value

    def weight(self, ridge: float) -> torch.Tensor:
        """Return W = S_yx (S + lambda)^-1, (d_B, d_A), to targets of unit length."""
        return ((self.basis.vectors / self.penalised(ridge)) @ self.cross).T


def rounding(moments: Moments) -> float:
    """Return how far rounding of the uncentred sums can move an eigenvalue of the centred ones.

    Seen with constant features: up to 0.2 n eps trace(X^T X), since each of the n additions rounds the same way.
    """
    return (moments.n + moments.d_A) * EPSILON * float(torch.trace(moments.XX))
