"""All maps of one pair in closed form, each from the parts of the training rows that its variant asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lib.experiment.variants import PARTS, Variant
from lib.maps.affine import AffineMap
from lib.maps.classifier_maps import from_classifiers
from lib.maps.moments import Moments
from lib.maps.procrustes import orthogonal
from lib.maps.ridge import choose_ridge, least_squares, low_rank
from lib.networks.classifiers import Classifier


def closed_form_maps(
    wanted: Sequence[Variant], parts: Sequence[Moments], C_S: Classifier, C_T: Classifier
) -> Iterator[tuple[Variant, AffineMap, dict[str, Any]]]:
    """Yield each wanted map of the pair, with what its manifest says of it.

    `parts` are the sums over each of the PARTS of the training rows; they may be missing if no variant needs sums.
    """
    ridges = Ridges(parts, label_rows(C_T)[0])
    low = [variant for variant in wanted if variant.rank is not None]
    for variant in wanted:
        if variant.family == "classifiers":
            yield variant, from_classifiers(*label_rows(C_S), *label_rows(C_T)), {}
        elif variant.rank is None:
            moments = added(parts[: variant.parts])
            described: dict[str, Any] = {"training_rows": moments.n}
            if variant.family == "orthogonal":
                yield variant, orthogonal(moments), described
            else:
                ridge = ridges(variant)
                yield variant, least_squares(moments, ridge), described | {"ridge": ridge}
    if low:  # all ranks come from one decomposition
        moments, ridge = added(parts), ridges(low[0])
        maps = low_rank(moments, ridge, [variant.rank for variant in low if variant.rank])
        for variant, map_ in zip(low, maps.values(), strict=True):
            yield variant, map_, {"training_rows": moments.n, "ridge": ridge}


class Ridges:
    """The ridge for each share of the training rows, chosen once by cross-validation without labels."""

    def __init__(self, parts: Sequence[Moments], classifier_weight: np.ndarray) -> None:
        self.parts, self.classifier_weight = parts, classifier_weight
        self.chosen: dict[float, float] = {}

    def __call__(self, variant: Variant) -> float:
        """Return the ridge for the variant's share of the rows."""
        if variant.share not in self.chosen:
            mine = self.parts[: variant.parts]
            smaller = [part for part, share in zip(mine, PARTS, strict=False) if share < PARTS[variant.parts - 1]]
            folds = [*([added(smaller)] if smaller else []), *mine[len(smaller) :]]  # of about equal size
            self.chosen[variant.share], _ = choose_ridge(folds, classifier_weight=self.classifier_weight)
        return self.chosen[variant.share]


def added(parts: Sequence[Moments]) -> Moments:
    """Return the sums over the rows of all these parts."""
    total, *others = parts
    for part in others:
        total = total + part
    return total


def label_rows(classifier: Classifier) -> tuple[np.ndarray, np.ndarray]:
    """Return weight (classes, d) and bias (classes,) of the classes that labels can name, without the background."""
    return classifier.weight[classifier.offset :].numpy(), classifier.bias[classifier.offset :].numpy()
