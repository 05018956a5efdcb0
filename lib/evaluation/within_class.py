"""How much of a network's features a map carries over besides the label."""

from __future__ import annotations

import torch


def within_class_r2(mapped: torch.Tensor, own: torch.Tensor, label: torch.Tensor) -> float | None:
    """Return R^2 of mapped unit vectors (n, d) about the means of the classes, for labels (n,) of the same images.

    It is 1 - sum_c sum_i |(y_i - y_c) - (x_i - x_c)|^2 / sum_c sum_i |y_i - y_c|^2, x mapped, y the target's own, y_c
    and x_c their means over the images of class c. 1 is a perfect map. At or below 0 the map carries over no more than
    which class an image belongs to. None if each class has one image or equal vectors.
    """
    total = _about_class_means(own, label)
    return 1 - _about_class_means(own - mapped, label) / total if total > len(own) * 1e-12 else None


def _about_class_means(vectors: torch.Tensor, label: torch.Tensor) -> float:
    """Return the sum over the images of the squared distance to the mean of their class."""
    classes, place = label.unique(return_inverse=True)
    sums = torch.zeros(len(classes), vectors.shape[1], dtype=torch.float64, device=vectors.device)
    sums.index_add_(0, place, vectors.double())
    counts = place.bincount().double()
    return float(vectors.double().square().sum() - (sums.square().sum(1) / counts).sum())
