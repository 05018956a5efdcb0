"""Maps by ridge regression: full rank, low rank, and the choice of the ridge by cross-validation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import torch

from lib.maps.affine import AffineMap
from lib.maps.decompositions import eigh
from lib.maps.moments import Features, Moments, float64_rows
from lib.maps.spectrum import CLEAR, EPSILON, Basis, Frame, Spectrum, rounding

RIDGES = tuple(10 ** (k / 4) for k in range(-24, 9))  # 1e-6 to 1e2, four a decade


def least_squares(moments: Moments, ridge: float, basis: Basis | None = None) -> AffineMap:
    """Return the map by ridge regression: it minimises sum |y - W x - b|^2 + lambda |W|^2; b is not penalised.

    `ridge` is relative: lambda = ridge * trace(S) / d_A, with S the centred X^T X, so that neither the number of rows
    nor the scale of the features changes its meaning. If rows are fewer than dimensions, or features constant, the
    solution has no part in the directions that no row reaches; at ridge 0 it is the one of least norm. `basis` is
    that of the moments, if it is known. Raises ValueError if there are no rows or the ridge is negative.
    """
    spectrum = Spectrum.of(moments, basis)
    return spectrum.frame.map(spectrum.weight(ridge))


def coordinate_least_squares(moments: Moments, ridge: float) -> AffineMap:
    """Return the map of `least_squares` for one ridge, between the coordinates in the rows' spaces if they have any.

    Where the ridge is far above the rounding of the sums, Cholesky's decomposition takes the place of eigenvectors, for
    about a fifth of the time. The maps are equal up to rounding. Raises ValueError as `least_squares` does.
    """
    frame = Frame.of(moments)
    S = moments.XX_about(frame.mean_x)
    penalty = ridge * float(S.trace()) / moments.d_A
    if penalty <= CLEAR * rounding(moments):
        spectrum = Spectrum.of(moments)
        return spectrum.frame.coordinate_map(spectrum.weight(ridge))
    S.diagonal().add_(penalty)
    L = torch.linalg.cholesky(S)
    return frame.coordinate_map(torch.cholesky_solve(moments.XY_about(frame.mean_x, frame.mean_y), L).T)


def choose_ridge(
    folds: Sequence[Moments], candidates: Sequence[float] = RIDGES, classifier_weight: Features | None = None
) -> tuple[float, dict[float, float]]:
    """Return the best ridge by cross-validation, and each candidate's mean squared error on a held-out image, less what
    is the same for all candidates.

    `folds` are disjoint parts of the training rows, of about equal size. Each is held out once from the fit on all
    others. No label is used. With B's `classifier_weight` (classes, d_B), the error is that of B's class scores less
    their mean over the classes, on which no decision depends; without, it is that of the unit-length feature vectors.
    The two can choose differently, since features that B's classifier hardly reads count in the second. Raises
    ValueError for fewer than two folds, no candidates, or a classifier of other features.
    """
    if len(folds) < 2 or not candidates:
        raise ValueError(f"expected two folds or more and a candidate, got {len(folds)} and {len(candidates)}")
    metric = ScoreMetric.of(classifier_weight, folds[0].y)
    folds, splits = [metric.seen(fold) for fold in folds], []
    for k, held_out in enumerate(folds):
        spectrum = Spectrum.of(reduce(add, [fold for i, fold in enumerate(folds) if i != k]))
        splits.append((spectrum, held_out, spectrum.basis.held_out(held_out)))
    return best_ridge(splits, metric.Q, candidates)


def best_ridge(
    splits: Iterable[tuple[Spectrum, Moments, torch.Tensor]],
    metric: torch.Tensor | None,
    candidates: Sequence[float] = RIDGES,
) -> tuple[float, dict[float, float]]:
    """Return what choose_ridge does, from the spectrum of each fit, the fold that it leaves out, and Basis.held_out.

    Their targets are as a ScoreMetric has seen them, whose Q is the `metric`.
    """
    total, n = [0.0] * len(candidates), 0
    for spectrum, held_out, held_out_XX in splits:
        found = _squared_errors(spectrum, held_out, held_out_XX, candidates, metric).tolist()
        total = [before + more for before, more in zip(total, found, strict=True)]
        n += held_out.n
    errors = dict(zip(candidates, (error / n for error in total), strict=True))
    return min(errors, key=lambda ridge: errors[ridge]), errors


def low_rank(moments: Moments, ridge: float, ranks: Iterable[int], basis: Basis | None = None) -> dict[int, AffineMap]:
    """Return for each rank k the map that minimises what `least_squares` does, among those whose weight has rank k at
    most.

    This is reduced-rank regression (Izenman 1975) with a ridge (Mukherjee and Zhu 2011, "Reduced rank ridge regression
    and its kernel extensions"). From k = min(d_A, d_B) on it is `least_squares`; below, the maps keep their two
    factors. Raises ValueError as `least_squares` does, and for k < 1.
    """
    ranks = list(ranks)
    if any(k < 1 for k in ranks):
        raise ValueError(f"expected ranks of 1 or more, got {ranks}")
    spectrum = Spectrum.of(moments, basis)
    W = spectrum.weight(ridge)
    # With W the ridge solution and G = S + lambda the objective is a constant + |(W' - W) G^(1/2)|^2 for any weight W'.
    # Eckart and Young: the best W' G^(1/2) of rank k keeps the top k left singular vectors U of W G^(1/2), and
    # W' = U U^T W. In the basis W G^(1/2) = cross^T (values + lambda)^(-1/2) V^T, whose left vectors are those of R^T.
    R = spectrum.cross / torch.sqrt(spectrum.penalised(ridge))[:, None]
    U = top_right_vectors(R)[:, : max(ranks, default=0)]
    right = U.T @ W
    return {
        k: spectrum.frame.map(W) if k >= min(moments.d_A, moments.d_B) else spectrum.frame.map(U[:, :k], right[:k])
        for k in ranks
    }


def top_right_vectors(R: torch.Tensor) -> torch.Tensor:
    """Return the right singular vectors of R (r, d), the largest first, (d, rank)."""
    r, d = R.shape
    if r >= d:
        return eigh(R.T @ R)[1].flip(1)
    values, Q = eigh(R @ R.T)
    reached = values > max(r, d) * EPSILON * values[-1:].clamp_min(0).sum()
    values, Q = values[reached].flip(0), Q[:, reached].flip(1)
    return R.T @ (Q / torch.sqrt(values))


def _squared_errors(
    spectrum: Spectrum,
    held_out: Moments,
    held_out_XX: torch.Tensor,
    candidates: Sequence[float],
    metric: torch.Tensor | None,
) -> torch.Tensor:
    """Return the sum over held-out rows of (y - W x - b)^T metric (y - W x - b) for each candidate, (candidates,), less
    what does not depend on the candidate. No metric is the identity.
    """
    # With u = x - mean_x and v = y - mean_y, of the TRAINING rows' means, y - W x - b = v - W u. Its sum of squares is
    #   tr(Q S_vv) - 2 tr(Q W S_uv) + tr(Q W S_uu W^T),   Q the metric; the first is the same for all candidates.
    # W^T = V D Z, with D = diag(1 / (values + lambda)), Z = spectrum.cross; D alone depends on the candidate. So with
    # the diagonal d of D:  tr(Q W S_uv) = d . p,  p_i = (V^T S_uv Q Z^T)_ii,
    #                       tr(Q W S_uu W^T) = d^T H d,  H_ij = (V^T S_uu V)_ij (Z Q Z^T)_ij.
    basis, ZQ = spectrum.basis, spectrum.cross if metric is None else spectrum.cross @ metric
    p = torch.sum((basis.vectors.T @ held_out.XY_about(basis.mean_x, spectrum.frame.mean_y)) * ZQ, dim=1)
    H = held_out_XX * (ZQ @ spectrum.cross.T)
    inverses = torch.stack([1 / spectrum.penalised(ridge) for ridge in candidates])
    return torch.sum((inverses @ H) * inverses, dim=1) - 2 * inverses @ p


@dataclass(frozen=True, eq=False)
class ScoreMetric:
    """The distance of target vectors by which a ridge is chosen: that of B's class scores less their mean.

    Where classes are fewer than features, the scores themselves take the features' place, and Q is None. Else Q
    (d_B, d_B) makes z^T Q z the squared length of a vector's scores. Without a classifier vectors have their own.
    """

    scores: torch.Tensor | None  # (d_B, classes)
    Q: torch.Tensor | None

    @classmethod
    def of(cls, classifier_weight: Features | None, like: torch.Tensor) -> ScoreMetric:
        """Return the metric of a classifier's weight (classes, d_B). `like` (d_B,) has the size and the device.

        Raises ValueError for a weight of other features.
        """
        if classifier_weight is None:
            return cls(None, None)
        C = float64_rows(classifier_weight, like.device)
        if C.ndim != 2 or C.shape[1] != len(like):
            raise ValueError(f"expected a classifier's weight (classes, {len(like)}), got {tuple(C.shape)}")
        C = C - C.mean(0)
        return cls(C.T, None) if len(C) < len(like) else cls(None, C.T @ C)

    def seen(self, moments: Moments) -> Moments:
        """Return the sums of a pair with the target as the metric sees it: its class scores, or itself."""
        if self.scores is None:
            return moments
        return replace(moments, y=moments.y @ self.scores, XY=moments.XY @ self.scores, target_space=None)
