"""Fewer rows than features: the rows span a small space, in which all sums and decompositions are small, too."""

from __future__ import annotations

import numpy as np
from scipy import linalg


def row_space(F_A: np.ndarray) -> np.ndarray:
    """Return orthonormal columns (d_A, n) that span the rows of features (n, d_A), n < d_A.

    A ridge or Procrustes map has no part in other directions, so that a map W of the coordinates F_A Q gives the map
    W Q^T of the features.
    """
    return linalg.qr(np.asarray(F_A, np.float64).T, mode="economic")[0]
