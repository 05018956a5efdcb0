"""One pair's centred sums in the eigenvectors of the source's covariance, in which any ridge is cheap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import linalg

from lib.maps.affine import AffineMap
from lib.maps.moments import Moments


@dataclass(frozen=True, eq=False)
class Spectrum:
    """One pair's centred sums in the eigenvectors of S = centred X^T X = V diag(values) V^T.

    Eigenvalues within the rounding of the sums are left out with their vectors, since no row reaches there.
    """

    mean_x: np.ndarray  # (d_A,)
    mean_y: np.ndarray  # (d_B,)
    mean_length: float
    mean_value: float  # trace(S) / d_A
    values: np.ndarray  # (r,), r the rank of S
    vectors: np.ndarray  # (d_A, r)
    cross: np.ndarray  # (r, d_B): V^T S_xy

    @classmethod
    def of(cls, moments: Moments) -> Spectrum:
        """Decompose one pair's sums. Raises ValueError if there are no rows."""
        mean_x, mean_y = means(moments)
        centred = moments.about(mean_x, mean_y)
        values, V = linalg.eigh(centred.XX, driver="evd")
        reached = values > rounding(moments)
        values, V = values[reached], V[:, reached]
        mean_value = values.sum() / len(mean_x)
        return cls(mean_x, mean_y, moments.mean_length(), mean_value, values, V, V.T @ centred.XY)

    def penalised(self, ridge: float) -> np.ndarray:
        """Return the eigenvalues of S + lambda, (r,). Raises ValueError if the ridge is negative."""
        if not ridge >= 0:
            raise ValueError(f"expected a ridge of 0 or more, got {ridge}")
        return self.values + ridge * self.mean_value

    def weight(self, ridge: float) -> np.ndarray:
        """Return W = S_yx (S + lambda)^-1, (d_B, d_A), to targets of unit length."""
        return ((self.vectors / self.penalised(ridge)) @ self.cross).T

    def map(self, weight: np.ndarray) -> AffineMap:
        """Return the affine map with this weight."""
        return affine_from_centred(weight, self.mean_x, self.mean_y, self.mean_length)


def means(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of x and y. Raises ValueError if there are no rows."""
    if moments.n == 0:
        raise ValueError("expected moments of one row or more, got none")
    return moments.x / moments.n, moments.y / moments.n


def rounding(moments: Moments) -> float:
    """Return how far rounding of the uncentred sums can move an eigenvalue of the centred ones.

    Seen with constant features: up to 0.2 n eps trace(X^T X), since each of the n additions rounds the same way.
    """
    return float((moments.n + len(moments.x)) * np.finfo(np.float64).eps * np.trace(moments.XX))


def affine_from_centred(weight: np.ndarray, mean_x: np.ndarray, mean_y: np.ndarray, length: float) -> AffineMap:
    """Return the map x -> length * (weight (x - mean_x) + mean_y)."""
    return AffineMap(float32_tensor(length * weight), float32_tensor(length * (mean_y - weight @ mean_x)))


def float32_tensor(numbers: np.ndarray) -> torch.Tensor:
    """Return numbers as a contiguous float32 tensor."""
    return torch.from_numpy(np.ascontiguousarray(numbers, np.float32))
