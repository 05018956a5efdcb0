"""Maps made from two classifiers alone, without an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from lib.maps.affine import AffineMap
from lib.maps.spectrum import float32_tensor

Numbers = tuple[ArrayLike, ArrayLike]  # a classifier's weight (classes, d) and bias (classes,)


def from_classifiers(sources: Sequence[Numbers], target: Numbers) -> list[AffineMap]:
    """Return for each source the map M F = W_T^+ (W_S F + b_S - b_T), made from the two classifiers without an image.

    Source: after "Exploring the interchangeability of CNN embedding spaces" (McNeely-White et al., arXiv:2010.02323).
    If W_T has full row rank, and so d_T >= classes, the target's classifier gives M F exactly the source's scores; else
    it gives the nearest scores by least squares. M F need not resemble F_T.

    Row i of all must be the same class: leave out the row of a background class that only some of them have. Raises
    ValueError if the numbers of classes differ.
    """
    W_T, b_T = (np.asarray(a, np.float64) for a in target)
    wanted = []
    for source in sources:
        W_S, b_S = (np.asarray(a, np.float64) for a in source)
        if W_S.ndim != 2 or W_T.ndim != 2 or not b_S.shape == b_T.shape == W_S.shape[:1] == W_T.shape[:1]:
            raise ValueError(
                "expected weights (classes, d) and biases (classes,) with the same classes on both sides, got "
                f"{W_S.shape}, {b_S.shape} and {W_T.shape}, {b_T.shape}: is a background class in one of them?"
            )
        wanted.append(np.column_stack([W_S, b_S - b_T]))
    solution = linalg.pinv(W_T) @ np.hstack(wanted)
    edges = np.cumsum([scores.shape[1] for scores in wanted])[:-1]
    return [AffineMap(float32_tensor(part[:, :-1]), float32_tensor(part[:, -1])) for part in np.hsplit(solution, edges)]
