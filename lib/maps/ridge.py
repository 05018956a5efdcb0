"""Maps by ridge regression: full rank, low rank, and the choice of the ridge by cross-validation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from lib.maps.affine import AffineMap
from lib.maps.moments import Moments
from lib.maps.spectrum import Spectrum

RIDGES = tuple(10 ** (k / 4) for k in range(-24, 9))  # 1e-6 to 1e2, four a decade


def least_squares(moments: Moments, ridge: float) -> AffineMap:
    """Return the map by ridge regression: it minimises sum |y - W x - b|^2 + lambda |W|^2; b is not penalised.

    `ridge` is relative: lambda = ridge * trace(S) / d_A, with S the centred X^T X, so that neither the number of rows
    nor the scale of the features changes its meaning. If rows are fewer than dimensions, or features constant, the
    solution has no part in the directions that no row reaches; at ridge 0 it is the one of least norm. Raises
    ValueError if there are no rows or the ridge is negative.
    """
    spectrum = Spectrum.of(moments)
    return spectrum.map(spectrum.weight(ridge))


def choose_ridge(
    folds: Sequence[Moments], candidates: Sequence[float] = RIDGES, classifier_weight: ArrayLike | None = None
) -> tuple[float, dict[float, float]]:
    """Return the best ridge by cross-validation, and each candidate's mean squared error on a held-out image.

    `folds` are disjoint parts of the training rows, of about equal size. Each is held out once from the fit on all
    others. No label is used. With B's `classifier_weight` (classes, d_B), the error is that of B's class scores less
    their mean over the classes, on which no decision depends; without, it is that of the unit-length feature vectors.
    The two can choose differently, since features that B's classifier hardly reads count in the second. Raises
    ValueError for fewer than two folds, no candidates, or a classifier of other features.
    """
    if len(folds) < 2 or not candidates:
        raise ValueError(f"expected two folds or more and a candidate, got {len(folds)} and {len(candidates)}")
    metric = _score_metric(classifier_weight, len(folds[0].y))
    total = np.zeros(len(candidates))
    for k, held_out in enumerate(folds):
        training = reduce(add, [fold for i, fold in enumerate(folds) if i != k])
        total += _squared_errors(Spectrum.of(training), held_out, candidates, metric)
    errors = dict(zip(candidates, (total / sum(fold.n for fold in folds)).tolist(), strict=True))
    return min(errors, key=lambda ridge: errors[ridge]), errors


def low_rank(moments: Moments, ridge: float, ranks: Iterable[int]) -> dict[int, AffineMap]:
    """Return for each rank k the map that minimises what `least_squares` does, among those whose weight has rank k at
    most.

    This is reduced-rank regression (Izenman 1975) with a ridge (Mukherjee and Zhu 2011, "Reduced rank ridge regression
    and its kernel extensions"). From k = min(d_A, d_B) on it is `least_squares`. Raises ValueError as `least_squares`
    does, and for k < 1.
    """
    ranks = list(ranks)
    if any(k < 1 for k in ranks):
        raise ValueError(f"expected ranks of 1 or more, got {ranks}")
    spectrum = Spectrum.of(moments)
    W = spectrum.weight(ridge)
    # With W the ridge solution and G = S + lambda the objective is a constant + |(W' - W) G^(1/2)|^2 for any weight W'.
    # Eckart and Young: the best W' G^(1/2) of rank k keeps the top k left singular vectors U of W G^(1/2), and
    # W' = U U^T W. These U are the top eigenvectors of W G W^T = S_yx G^-1 S_xy, where ridge-augmented rows
    # (X; sqrt(lambda) 1) have the fitted values' sums of squares.
    fitted = spectrum.cross.T @ (spectrum.cross / spectrum.penalised(ridge)[:, None])
    U = linalg.eigh(fitted, driver="evd")[1][:, ::-1]
    return {k: spectrum.map(W if k >= min(W.shape) else U[:, :k] @ (U[:, :k].T @ W)) for k in ranks}


def _squared_errors(
    spectrum: Spectrum, held_out: Moments, candidates: Sequence[float], metric: np.ndarray
) -> np.ndarray:
    """Return the sum over held-out rows of (y - W x - b)^T metric (y - W x - b) for each candidate, (candidates,)."""
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
    """Return Q (d_B, d_B), with which z^T Q z is the squared length of z, or of the centred scores that C_B makes of
    it.
    """
    if classifier_weight is None:
        return np.eye(d_B)
    C = np.asarray(classifier_weight, np.float64)
    if C.ndim != 2 or C.shape[1] != d_B:
        raise ValueError(f"expected a classifier's weight (classes, {d_B}), got {C.shape}")
    C = C - C.mean(0)
    return C.T @ C
