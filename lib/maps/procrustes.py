"""Maps that only rotate, scale and move: orthogonal Procrustes."""

from __future__ import annotations

import torch

from lib.maps.affine import AffineMap
from lib.maps.decompositions import svd
from lib.maps.moments import Moments
from lib.maps.spectrum import EPSILON, Frame, rounding


def orthogonal(moments: Moments) -> AffineMap:
    """Return the Procrustes map: a rotation or reflection W of A's centred features, one scale s, a translation.

    The weight is s W. It minimises sum |y - s W x - b|^2 (Schönemann and Carroll 1970, "Fitting one matrix to another
    under choice of a central dilation and a rigid motion"; Gower 1975). If the sizes differ, the smaller space is laid
    isometrically into the larger one. For d_A <= d_B, W has orthonormal columns, and the minimum is exact. For d_A >
    d_B, W has orthonormal rows: A is projected by the transpose of B's best isometric embedding, and s is the best for
    this W, since a least-squares projection has no closed form (Gower and Dijksterhuis 2004, "Procrustes Problems").

    If the centred X^T Y lacks full rank, as with fewer rows than dimensions, W = P_r Q_r^T of the reached rank r: the
    one of least norm, with no part in directions that no row reaches. If x is constant, s is 0. Raises ValueError if
    there are no rows.
    """
    frame = Frame.of(moments)
    # sum |v - s W u|^2 = sum |v|^2 - 2 s tr(W S_uv) + s^2 sum |W u|^2, and sum |W u|^2 = sum |u|^2 where W^T W = 1.
    # W = P Q^T of the SVD S_vu = P diag(sigma) Q^T maximises the trace, to sum sigma; then s is a parabola's minimum.
    P, sigma, Qt = svd(moments.XY_about(frame.mean_x, frame.mean_y).T)
    reached = sigma > max(moments.n, *moments.XY.shape) * EPSILON * torch.linalg.norm(moments.XY)
    W = P[:, reached] @ Qt[reached]
    spread = float(torch.sum((W @ moments.XX_about(frame.mean_x)) * W))
    scale = float(sigma[reached].sum()) / spread if spread > rounding(moments) else 0.0
    return frame.map(scale * W)
