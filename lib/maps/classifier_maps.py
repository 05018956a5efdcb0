"""Maps made from two classifiers alone, without an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lib.maps.affine import AffineMap
from lib.maps.moments import Features, float64_rows

Numbers = tuple[Features, Features]  # a classifier's weight (classes, d) and bias (classes,)


def from_classifiers(
    sources: Sequence[Numbers], target: Numbers, device: torch.device | str = "cpu"
) -> list[AffineMap]:
    """Return for each source the map M F = W_T^+ (W_S F + b_S - b_T), made from the two classifiers without an image.

    Source: after "Exploring the interchangeability of CNN embedding spaces" (McNeely-White et al., arXiv:2010.02323).
    If W_T has full row rank, and so d_T >= classes, the target's classifier gives M F exactly the source's scores; else
    it gives the nearest scores by least squares. M F need not resemble F_T.

    Row i of all must be the same class: leave out the row of a background class that only some of them have. Raises
    ValueError if the numbers of classes differ.
    """
    W_T, b_T = (float64_rows(numbers, device) for numbers in target)
    wanted = []
    for source in sources:
        W_S, b_S = (float64_rows(numbers, device) for numbers in source)
        if W_S.ndim != 2 or W_T.ndim != 2 or not b_S.shape == b_T.shape == W_S.shape[:1] == W_T.shape[:1]:
            shapes = [tuple(numbers.shape) for numbers in (W_S, b_S, W_T, b_T)]
            raise ValueError(
                "expected weights (classes, d) and biases (classes,) with the same classes on both sides, got "
                f"{shapes[0]}, {shapes[1]} and {shapes[2]}, {shapes[3]}: is a background class in one of them?"
            )
        wanted.append(torch.column_stack([W_S, b_S - b_T]))
    solution = (torch.linalg.pinv(W_T) @ torch.hstack(wanted)).float()
    parts = solution.split([scores.shape[1] for scores in wanted], dim=1)
    return [AffineMap(part[:, :-1].contiguous(), part[:, -1].contiguous()) for part in parts]
