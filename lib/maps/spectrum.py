"""Centred sums in the eigenvectors of the source's covariance, in which any ridge is cheap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import linalg

from lib.maps.affine import AffineMap
from lib.maps.moments import Moments


@dataclass(frozen=True, eq=False)
class Basis:
    """The eigenvectors of a source's covariance: S = centred X^T X = V diag(values) V^T. All its targets share it.

    Eigenvalues within the rounding of the sums are left out with their vectors, since no row reaches there.
    """

    mean_x: np.ndarray  # (d_A,)
    mean_value: float  # trace(S) / d_A
    values: np.ndarray  # (r,), r the rank of S
    vectors: np.ndarray  # (d_A, r)

    @classmethod
    def of(cls, moments: Moments) -> Basis:
        """Decompose the source's sums. Raises ValueError if there are no rows."""
        mean_x, _ = means(moments)
        values, V = linalg.eigh(moments.XX_about(mean_x), driver="evd")
        reached = values > rounding(moments)
        values, V = values[reached], V[:, reached]
        return cls(mean_x, float(values.sum() / moments.d_A), values, V)

    def held_out(self, moments: Moments) -> np.ndarray:
        """Return V^T S_uu V, (r, r), of other rows about the means of those that made the basis."""
        return self.vectors.T @ moments.XX_about(self.mean_x) @ self.vectors


@dataclass(frozen=True, eq=False)
class Spectrum:
    """One pair's centred sums in a source's Basis, in which any ridge is cheap."""

    basis: Basis
    mean_y: np.ndarray  # (d_B,)
    mean_length: float
    cross: np.ndarray  # (r, d_B): V^T S_xy
    space: np.ndarray | None  # of the moments

    @classmethod
    def of(cls, moments: Moments, basis: Basis | None = None) -> Spectrum:
        """Decompose one pair's sums, unless the source's `basis` is known. Raises ValueError if there are no rows."""
        basis = basis or Basis.of(moments)
        mean_y = means(moments)[1]
        cross = basis.vectors.T @ moments.XY_about(basis.mean_x, mean_y)
        return cls(basis, mean_y, moments.mean_length(), cross, moments.space)

    def penalised(self, ridge: float) -> np.ndarray:
        """Return the eigenvalues of S + lambda, (r,). Raises ValueError if the ridge is negative."""
        if not ridge >= 0:
            raise ValueError(f"expected a ridge of 0 or more, got {ridge}")
        return self.basis.values + ridge * self.basis.mean_value

    def weight(self, ridge: float) -> np.ndarray:
        """Return W = S_yx (S + lambda)^-1, (d_B, d_A), to targets of unit length."""
        return ((self.basis.vectors / self.penalised(ridge)) @ self.cross).T

    def map(self, weight: np.ndarray, left: np.ndarray | None = None) -> AffineMap:
        """Return the affine map with this weight (d_B, d_A), or with left (d_B, k) @ weight (k, d_A)."""
        return affine_from_centred(weight, self.basis.mean_x, self.mean_y, self.mean_length, self.space, left)


def means(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of x and y. Raises ValueError if there are no rows."""
    if moments.n == 0:
        raise ValueError("expected moments of one row or more, got none")
    return moments.x / moments.n, moments.y / moments.n


def rounding(moments: Moments) -> float:
    """Return how far rounding of the uncentred sums can move an eigenvalue of the centred ones.

    Seen with constant features: up to 0.2 n eps trace(X^T X), since each of the n additions rounds the same way.
    """
    return float((moments.n + moments.d_A) * np.finfo(np.float64).eps * np.trace(moments.XX))


def affine_from_centred(
    weight: np.ndarray,
    mean_x: np.ndarray,
    mean_y: np.ndarray,
    length: float,
    space: np.ndarray | None = None,
    left: np.ndarray | None = None,
) -> AffineMap:
    """Return the map x -> length * (weight (x - mean_x) + mean_y).

    If there is a `space` (d_A, r), weight and mean_x are in its coordinates. If there is a `left` factor (d_B, k), the
    weight is left @ weight, and the map keeps both factors.
    """
    shift = weight @ mean_x
    right = weight if space is None else weight @ space.T
    if left is None:
        return AffineMap(float32_tensor(length * right), float32_tensor(length * (mean_y - shift)))
    bias = float32_tensor(length * (mean_y - left @ shift))
    return AffineMap.of_factors(float32_tensor(length * left), float32_tensor(right), bias)


def float32_tensor(numbers: np.ndarray) -> torch.Tensor:
    """Return numbers as a contiguous float32 tensor."""
    return torch.from_numpy(np.ascontiguousarray(numbers, np.float32))
