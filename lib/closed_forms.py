"""Maps M_{A->B} in closed form, from sums over images that merge (lib.moments), or from the classifiers alone.

The fits minimise || y - W x - b ||^2, y the target at unit length: the nearest that a closed form comes to the paper's
E, whose x is scaled to unit length as well. E leaves a map's length open, but the target's classifier does not, for it
has a bias: each fit is multiplied by the target's mean length, last. (Without, seen with EfficientNet-Lite0 to Lite2
at ridge 1: top-1 0.05 in place of 0.41.) All is computed in float64; the maps' tensors are float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import linalg

from lib.maps import AffineMap
from lib.moments import Moments

RIDGES = tuple(10 ** (k / 4) for k in range(-24, 9))  # 1e-6 to 1e2, four a decade


def least_squares(moments: Moments, ridge: float) -> AffineMap:
    """Ridge regression: minimises sum |y - W x - b|^2 + lambda |W|^2, b not penalised.

    `ridge` is relative: lambda = ridge * trace(S) / d_A, S the centred X^T X; neither the number of rows nor the scale
    of the features changes its meaning. Where rows are fewer than dimensions, or features constant, the solution has
    no part in the directions that the rows don't reach; at ridge 0 it is the one of least norm.
    Raises ValueError where there are no rows or the ridge is negative.
    """
    spectrum = _Spectrum.of(moments)
    return spectrum.map(spectrum.weight(ridge))


def choose_ridge(
    folds: Sequence[Moments], candidates: Sequence[float] = RIDGES, classifier_weight: ArrayLike | None = None
) -> tuple[float, dict[float, float]]:
    """The best ridge by cross-validation, and each candidate's mean squared error on an image that was held out.

    `folds` are disjoint parts of the training rows, of about equal size: each is held out once from the fit on all the
    others. No label is used. With B's `classifier_weight` (classes, d_B) the error is that of B's class scores, less
    their mean over the classes, which no decision depends on; else that of the unit-length feature vectors. The two
    can choose differently: features that B's classifier hardly reads also count in the second.
    Raises ValueError for fewer than two folds, no candidates, or a classifier of other features.
    """
    if len(folds) < 2 or not candidates:
        raise ValueError(f"expected two folds or more and a candidate, got {len(folds)} and {len(candidates)}")
    metric = _score_metric(classifier_weight, len(folds[0].y))
    total = np.zeros(len(candidates))
    for k, held_out in enumerate(folds):
        training = reduce(add, [fold for i, fold in enumerate(folds) if i != k])
        total += _squared_errors(_Spectrum.of(training), held_out, candidates, metric)
    errors = dict(zip(candidates, (total / sum(fold.n for fold in folds)).tolist(), strict=True))
    return min(errors, key=lambda ridge: errors[ridge]), errors


def orthogonal(moments: Moments) -> AffineMap:
    """Procrustes: a rotation or reflection W of A's centred features, one scale s, a translation; weight is s W.

    Minimises sum |y - s W x - b|^2 (Schönemann and Carroll 1970, "Fitting one matrix to another under choice of a
    central dilation and a rigid motion"; Gower 1975). Where the sizes differ, the smaller space is laid isometrically
    into the larger: for d_A <= d_B, W has orthonormal columns, and the minimum is exact. For d_A > d_B, W has
    orthonormal rows: A is projected by the transpose of B's best isometric embedding, and s is the best for this W; a
    least-squares projection has no closed form (Gower and Dijksterhuis 2004, "Procrustes Problems").
    Where centred X^T Y has not full rank (fewer rows than dimensions), W is completed by arbitrary orthonormal
    directions, and another LAPACK may choose others. Where x is constant, s is 0. Raises ValueError where there are no
    rows.
    """
    mean_x, mean_y = _means(moments)
    centred = moments.about(mean_x, mean_y)
    # sum |v - s W u|^2 = sum |v|^2 - 2 s tr(W S_uv) + s^2 sum |W u|^2, and sum |W u|^2 = sum |u|^2 where W^T W = 1.
    # W = P Q^T of the SVD S_vu = P diag(sigma) Q^T maximises the trace, to sum sigma; then s is a parabola's minimum.
    P, sigma, Qt = linalg.svd(centred.XY.T, full_matrices=False)
    W = P @ Qt
    spread = np.sum((W @ centred.XX) * W)
    scale = sigma.sum() / spread if spread > _rounding(moments) else 0.0
    return _affine(scale * W, mean_x, mean_y, moments.mean_length())


def low_rank(moments: Moments, ridge: float, ranks: Iterable[int]) -> dict[int, AffineMap]:
    """For each rank k the map that minimises what `least_squares` does, among those whose weight has rank k at most.

    Reduced-rank regression (Izenman 1975) with a ridge (Mukherjee and Zhu 2011, "Reduced rank ridge regression and its
    kernel extensions"). From k = min(d_A, d_B) on it is `least_squares`. Raises ValueError as that does, and for k < 1.
    """
    ranks = list(ranks)
    if any(k < 1 for k in ranks):
        raise ValueError(f"expected ranks of 1 or more, got {ranks}")
    spectrum = _Spectrum.of(moments)
    W = spectrum.weight(ridge)
    # With W the ridge solution and G = S + lambda the objective is a constant + |(W' - W) G^(1/2)|^2 for any weight W'.
    # Eckart and Young: the best W' G^(1/2) of rank k keeps the top k left singular vectors U of W G^(1/2), and
    # W' = U U^T W. These U are the top eigenvectors of W G W^T = S_yx G^-1 S_xy, where ridge-augmented rows
    # (X; sqrt(lambda) 1) have the fitted values' sums of squares.
    fitted = spectrum.cross.T @ (spectrum.cross / spectrum.penalised(ridge)[:, None])
    U = linalg.eigh(fitted, driver="evd")[1][:, ::-1]
    return {k: spectrum.map(W if k >= min(W.shape) else U[:, :k] @ (U[:, :k].T @ W)) for k in ranks}


def from_classifiers(weight_S: ArrayLike, bias_S: ArrayLike, weight_T: ArrayLike, bias_T: ArrayLike) -> AffineMap:
    """The map M F = W_T^+ (W_S F + b_S - b_T), made of the two classifiers without an image.

    After "Exploring the interchangeability of CNN embedding spaces" (McNeely-White et al., arXiv:2010.02323). Weights
    are (classes, d_S) and (classes, d_T), biases (classes,). Where W_T has full row rank, and so d_T >= classes, the
    target's classifier gives M F exactly the source's scores; else the scores nearest to them by least squares. M F
    needn't resemble F_T.
    Row i of both must be the same class, and is taken so: leave out the row of a background class that only one has.
    Raises ValueError where the numbers of classes differ.
    """
    W_S, b_S, W_T, b_T = (np.asarray(a, np.float64) for a in (weight_S, bias_S, weight_T, bias_T))
    if W_S.ndim != 2 or W_T.ndim != 2 or not b_S.shape == b_T.shape == W_S.shape[:1] == W_T.shape[:1]:
        raise ValueError(
            "expected weights (classes, d) and biases (classes,) with the same classes on both sides, got "
            f"{W_S.shape}, {b_S.shape} and {W_T.shape}, {b_T.shape}: is a background class in one of them?"
        )
    solution = linalg.lstsq(W_T, np.column_stack([W_S, b_S - b_T]))[0]  # of least norm, as the pseudo-inverse's
    return AffineMap(_tensor(solution[:, :-1]), _tensor(solution[:, -1]))


@dataclass(frozen=True, eq=False)
class _Spectrum:
    """One pair's centred sums in the eigenvectors of S = centred X^T X = V diag(values) V^T: any ridge is cheap in it.

    Eigenvalues within the rounding of the sums are left out with their vectors: no row reaches there.
    """

    mean_x: np.ndarray  # (d_A,)
    mean_y: np.ndarray  # (d_B,)
    mean_length: float
    mean_value: float  # trace(S) / d_A
    values: np.ndarray  # (r,), r the rank of S
    vectors: np.ndarray  # (d_A, r)
    cross: np.ndarray  # (r, d_B): V^T S_xy

    @classmethod
    def of(cls, moments: Moments) -> _Spectrum:
        mean_x, mean_y = _means(moments)
        centred = moments.about(mean_x, mean_y)
        values, V = linalg.eigh(centred.XX, driver="evd")
        reached = values > _rounding(moments)
        values, V = values[reached], V[:, reached]
        mean_value = values.sum() / len(mean_x)
        return cls(mean_x, mean_y, moments.mean_length(), mean_value, values, V, V.T @ centred.XY)

    def penalised(self, ridge: float) -> np.ndarray:
        """Eigenvalues of S + lambda, (r,)."""
        if not ridge >= 0:
            raise ValueError(f"expected a ridge of 0 or more, got {ridge}")
        return self.values + ridge * self.mean_value

    def weight(self, ridge: float) -> np.ndarray:
        """W = S_yx (S + lambda)^-1, (d_B, d_A), to targets of unit length."""
        return ((self.vectors / self.penalised(ridge)) @ self.cross).T

    def map(self, weight: np.ndarray) -> AffineMap:
        return _affine(weight, self.mean_x, self.mean_y, self.mean_length)


def _squared_errors(
    spectrum: _Spectrum, held_out: Moments, candidates: Sequence[float], metric: np.ndarray
) -> np.ndarray:
    """Sum over held-out rows of (y - W x - b)^T metric (y - W x - b), for each candidate's W and b, (candidates,)."""
    # With u = x - mean_x and v = y - mean_y, of the TRAINING rows' means, y - W x - b = v - W u. Its sum of squares is
    #   tr(Q S_vv) - 2 tr(Q W S_uv) + tr(Q W S_uu W^T),   Q the metric.
    # W^T = V D Z, with D = diag(1 / (values + lambda)), Z = spectrum.cross; D alone depends on the candidate. So with
    # the diagonal d of D:  tr(Q W S_uv) = d . p,  p_i = (V^T S_uv Q Z^T)_ii,
    #                       tr(Q W S_uu W^T) = d^T H d,  H_ij = (V^T S_uu V)_ij (Z Q Z^T)_ij.
    about = held_out.about(spectrum.mean_x, spectrum.mean_y)
    V, ZQ = spectrum.vectors, spectrum.cross @ metric
    p = np.sum((V.T @ about.XY) * ZQ, axis=1)
    H = (V.T @ about.XX @ V) * (ZQ @ spectrum.cross.T)
    constant = np.sum(about.YY * metric)
    inverses = [1 / spectrum.penalised(ridge) for ridge in candidates]
    return np.array([constant - 2 * d @ p + d @ H @ d for d in inverses])


def _score_metric(classifier_weight: ArrayLike | None, d_B: int) -> np.ndarray:
    """(d_B, d_B) Q, in which z^T Q z is the squared length of z, or of the centred scores that C_B makes of it."""
    if classifier_weight is None:
        return np.eye(d_B)
    C = np.asarray(classifier_weight, np.float64)
    if C.ndim != 2 or C.shape[1] != d_B:
        raise ValueError(f"expected a classifier's weight (classes, {d_B}), got {C.shape}")
    C = C - C.mean(0)
    return C.T @ C


def _means(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    if moments.n == 0:
        raise ValueError("expected moments of one row or more, got none")
    return moments.x / moments.n, moments.y / moments.n


def _rounding(moments: Moments) -> float:
    """How far rounding of the uncentred sums can move an eigenvalue of the centred ones.

    Seen with constant features: up to 0.2 n eps trace(X^T X), since each of the n additions rounds the same way.
    """
    return float((moments.n + len(moments.x)) * np.finfo(np.float64).eps * np.trace(moments.XX))


def _affine(weight: np.ndarray, mean_x: np.ndarray, mean_y: np.ndarray, length: float) -> AffineMap:
    """x -> length * (weight (x - mean_x) + mean_y)."""
    return AffineMap(_tensor(length * weight), _tensor(length * (mean_y - weight @ mean_x)))


def _tensor(numbers: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(numbers, np.float32))
