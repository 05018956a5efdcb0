"""Fewer rows than features: the rows span a small space, in which all sums and decompositions are small, too."""

from __future__ import annotations

import torch

from lib.maps.moments import Features, float64_rows


def row_space(F: Features, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return orthonormal columns (d, n) that span the rows of features (n, d), n < d, in float32.

    A ridge or Procrustes map has no part in other directions of the source, and makes nothing in other directions of
    the target. So with spaces Q_A and Q_B, a map W of the coordinates F_A Q_A to those of F_B, F_B Q_B, gives the map
    Q_B W Q_A^T of the features.
    """
    return torch.linalg.qr(float64_rows(F, device).T)[0].float()
