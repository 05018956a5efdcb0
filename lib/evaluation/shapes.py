"""Shapes of features, from the sums of CKA: how far one is from a rotation of another, and how wide each is."""

from __future__ import annotations

import numpy as np

from lib.evaluation.cka import CrossSums


def procrustes_angle(sums: CrossSums, a: str, b: str) -> float | None:
    """Return the angle between two networks' features after the best rotation, in radians: 0 if one is a rotation of
    the other up to scale, pi/2 if nothing is shared.

    Source: Williams et al. 2021, "Generalized shape metrics on neural representations": the arc cosine of
    |X^T Y|_* / (|X| |Y|), X and Y centred, nuclear and Frobenius norms. None if one network's features are constant.
    """
    lengths = [float(np.trace(sums.centred(name, name))) for name in (a, b)]
    if sums.cka(a, b) is None:
        return None
    nuclear = float(np.linalg.svd(sums.centred(a, b), compute_uv=False).sum())
    return float(np.arccos(np.clip(nuclear / np.sqrt(lengths[0] * lengths[1]), -1, 1)))


def participation_ratio(sums: CrossSums, name: str) -> float:
    """Return in how many directions a network's features vary, 1 to d: tr(S)^2 / tr(S^2) of their covariance S.

    Source: Gao et al. 2017, "A theory of multineuronal dimensionality". 0 if the features are constant.
    """
    S = sums.centred(name, name)
    squares = float(np.square(S).sum())
    return float(np.trace(S)) ** 2 / squares if squares > 0 else 0.0
