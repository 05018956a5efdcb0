"""Shapes of features, from the sums of CKA: how far one is from a rotation of another, and how wide each is."""

from __future__ import annotations

import numpy as np

from lib.evaluation.cka import CrossSums

SPARE = 10  # random vectors more than a matrix's rank


def procrustes_angle(sums: CrossSums, a: str, b: str) -> float | None:
    """Return the angle between two networks' features after the best rotation, in radians: 0 if one is a rotation of
    the other up to scale, pi/2 if nothing is shared.

    Source: Williams et al. 2021, "Generalized shape metrics on neural representations": the arc cosine of
    |X^T Y|_* / (|X| |Y|), X and Y centred, nuclear and Frobenius norms. None if one network's features are constant.
    """
    if sums.cka(a, b) is None:
        return None
    squares = [
        float(np.trace(sums.second[name, name]) - sums.first[name] @ sums.first[name] / sums.n) for name in (a, b)
    ]
    nuclear = nuclear_norm(sums.centred(a, b), sums.n - 1)
    return float(np.arccos(np.clip(nuclear / np.sqrt(squares[0] * squares[1]), -1, 1)))


def nuclear_norm(M: np.ndarray, rank: int) -> float:
    """Return the sum of the singular values of M (d_A, d_B), of at most this rank.

    Where the rank is small, M is first laid into the space of what it makes of as many random vectors, and SPARE more
    (Halko, Martinsson and Tropp 2011, "Finding structure with randomness", algorithm 4.1). That is all that M makes.
    """
    vectors = rank + SPARE
    if 2 * vectors < min(M.shape):
        drawn = np.random.default_rng(0).standard_normal((M.shape[1], vectors))
        M = np.linalg.qr(M @ drawn)[0].T @ M
    return float(np.linalg.svd(M, compute_uv=False).sum())


def participation_ratio(sums: CrossSums, name: str) -> float:
    """Return in how many directions a network's features vary, 1 to d: tr(S)^2 / tr(S^2) of their covariance S.

    Source: Gao et al. 2017, "A theory of multineuronal dimensionality". 0 if the features are constant.
    """
    S = sums.centred(name, name)
    squares = float(np.square(S).sum())
    return float(np.trace(S)) ** 2 / squares if squares > 0 else 0.0
