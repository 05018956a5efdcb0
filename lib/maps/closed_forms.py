"""All maps of one source in closed form, each from the parts of the training rows that its variant asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import torch

from lib.experiment.variants import PARTS, Variant
from lib.maps.affine import AffineMap
from lib.maps.moments import Moments, SourceMoments
from lib.maps.procrustes import orthogonal
from lib.maps.ridge import best_ridge, least_squares, low_rank, score_metric
from lib.maps.spectrum import Basis, Spectrum
from lib.networks.classifiers import Classifier

Chosen = tuple[int, ...]  # numbers of some of the PARTS of the rows


class ClosedForms:
    """Maps from one source to each of its targets, from the sums over each of the PARTS of the training rows.

    What all targets need of the source, its sums over several parts and their eigenvectors, is computed once. A network
    that has a space among `spaces`, (d, r), has had its rows compressed to it (lib.maps.row_space).
    """

    def __init__(
        self, source: str, parts: Sequence[SourceMoments], spaces: Mapping[str, torch.Tensor] | None = None
    ) -> None:
        self.source, self.parts, self.spaces = source, parts, spaces or {}
        self.bases: dict[Chosen, Basis] = {}
        self.held_out: dict[tuple[Chosen, Chosen], torch.Tensor] = {}
        self.sums: dict[Chosen, SourceMoments] = {}

    def maps(
        self, target: str, wanted: Sequence[Variant], C_T: Classifier
    ) -> Iterator[tuple[Variant, AffineMap, dict[str, Any]]]:
        """Yield each wanted map to a target whose classifier is C_T, with what its manifest says of it."""
        ridges: dict[int, float] = {}
        metric = self.metric(target, C_T)

        def ridge_for(variant: Variant) -> float:
            """Return the ridge for the variant's parts of the rows, chosen once."""
            if variant.parts not in ridges:
                ridges[variant.parts] = self.choose_ridge(target, variant.parts, metric)
            return ridges[variant.parts]

        low = [variant for variant in wanted if variant.rank is not None]
        for variant in wanted:
            if variant.rank is not None:
                continue
            chosen = tuple(range(variant.parts))
            moments = self.moments(target, chosen)
            described: dict[str, Any] = {"training_rows": moments.n}
            if variant.family == "orthogonal":
                yield variant, orthogonal(moments), described
            else:
                ridge = ridge_for(variant)
                yield variant, least_squares(moments, ridge, self.basis(chosen)), described | {"ridge": ridge}
        if low:  # all ranks come from one decomposition
            whole = tuple(range(len(PARTS)))
            moments, ridge = self.moments(target, whole), ridge_for(low[0])
            maps = low_rank(moments, ridge, [variant.rank for variant in low if variant.rank], self.basis(whole))
            for variant, map_ in zip(low, maps.values(), strict=True):
                yield variant, map_, {"training_rows": moments.n, "ridge": ridge}

    def metric(self, target: str, C_T: Classifier) -> torch.Tensor:
        """Return the metric of the target's class scores, for its features or for their coordinates in its space."""
        weight, space = label_rows(C_T)[0].double(), self.spaces.get(target)
        in_space = weight if space is None else weight @ space.cpu().double()
        return score_metric(in_space, self.parts[0].targets[target].y)

    def choose_ridge(self, target: str, parts: int, metric: torch.Tensor) -> float:
        """Return the ridge for the first `parts` of the PARTS, chosen by cross-validation without labels."""
        folds = folds_of(parts)
        splits = []
        for fold in folds:
            others = tuple(sorted(set(range(parts)) - set(fold)))
            spectrum = Spectrum.of(self.moments(target, others), self.basis(others))
            held_out = self.moments(target, fold)
            if (others, fold) not in self.held_out:
                self.held_out[others, fold] = spectrum.basis.held_out(held_out)
            splits.append((spectrum, held_out, self.held_out[others, fold]))
        return best_ridge(splits, metric)[0]

    def basis(self, chosen: Chosen) -> Basis:
        """Return the source's basis over some of the parts."""
        if chosen not in self.bases:
            self.bases[chosen] = Basis.of(self.moments(next(iter(self.parts[0].targets)), chosen))
        return self.bases[chosen]

    def moments(self, target: str, chosen: Chosen) -> Moments:
        """Return the sums of one pair over some of the parts."""
        if chosen not in self.sums:
            bare = [SourceMoments(part.n, part.x, part.XX, {}) for part in (self.parts[place] for place in chosen)]
            self.sums[chosen] = reduce(add, bare)
        source = self.sums[chosen]
        sums = reduce(add, (self.parts[place].targets[target] for place in chosen))
        both = SourceMoments(source.n, source.x, source.XX, {target: sums})
        return both.pair(target, self.spaces.get(self.source), self.spaces.get(target))


def folds_of(parts: int) -> list[Chosen]:
    """Return the first `parts` of the PARTS as folds of about equal size: those smaller than the last make up one."""
    smaller = tuple(place for place in range(parts) if PARTS[place] < PARTS[parts - 1])
    return [*([smaller] if smaller else []), *((place,) for place in range(len(smaller), parts))]


def label_rows(classifier: Classifier) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight (classes, d) and bias (classes,) of the classes that labels can name, without the background."""
    return classifier.weight[classifier.offset :], classifier.bias[classifier.offset :]
