"""All maps of one source in closed form, each from the parts of the training rows that its variant asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch

from lib.experiment.variants import PARTS, SIXTEENTHS, Variant
from lib.maps.affine import AffineMap
from lib.maps.class_sums import ClassSums, LabelOnly
from lib.maps.few_rows import FewRows
from lib.maps.moments import Moments, SourceMoments
from lib.maps.part_sums import PartSums, RowsInParts
from lib.maps.procrustes import orthogonal
from lib.maps.ridge import ScoreMetric, best_ridge, coordinate_least_squares, least_squares, low_rank
from lib.maps.spectrum import Basis, Spectrum
from lib.networks.classifiers import Classifier

FOLDS = 4  # of a cross-validation, at most
Chosen = tuple[int, ...]  # numbers of some of the PARTS of the rows


class ClosedForms:
    """Maps from one source to each of its targets, from the sums over each of the PARTS of the training rows.

    What all targets need of the source, its sums over several parts and their eigenvectors, is computed once. A network
    that has a space among `spaces`, (d, r), has had its rows compressed to it (lib.maps.row_space). Where training rows
    are fewer than the source's features, they themselves take the sums' place.
    """

    def __init__(
        self,
        source: str,
        parts: Sequence[SourceMoments] | FewRows,
        spaces: Mapping[str, torch.Tensor] | None = None,
        classes: ClassSums | None = None,
    ) -> None:
        self.source, self.spaces = source, spaces or {}
        self.parts: RowsInParts = parts if isinstance(parts, FewRows) else PartSums(parts)
        self.label_only = classes if classes is not None and classes.known else None  # None: no control can be made
        self.label_only_basis: Basis | None = None
        self.bases: dict[Chosen, Basis] = {}
        self.held_out: dict[tuple[Chosen, Chosen], torch.Tensor] = {}
        self.sums: dict[Chosen, SourceMoments] = {}
        self.ridges: dict[tuple[str, int], float] = {}
        self.metrics: dict[str, ScoreMetric] = {}

    def maps(
        self, target: str, wanted: Sequence[Variant], C_T: Classifier | None
    ) -> Iterator[tuple[Variant, AffineMap, dict[str, Any]]]:
        """Yield each wanted map to a target with what its manifest says of it. C_T is its classifier, if it has one."""
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
                ridge = self.ridge(target, variant.parts, C_T)
                yield variant, least_squares(moments, ridge, self.basis(chosen)), described | {"ridge": ridge}
        if low:  # all ranks come from one decomposition
            whole = tuple(range(len(PARTS)))
            moments, ridge = self.moments(target, whole), self.ridge(target, low[0].parts, C_T)
            maps = low_rank(moments, ridge, [variant.rank for variant in low if variant.rank], self.basis(whole))
            for variant, map_ in zip(low, maps.values(), strict=True):
                yield variant, map_, {"training_rows": moments.n, "ridge": ridge}

    def subset_maps(self, chosen: Chosen, ridges: Mapping[str, float]) -> Iterator[tuple[str, AffineMap]]:
        """Yield the least-squares map to each target from some parts of the rows, with a ridge that is known.

        The map is one between the coordinates in the `spaces`. Nothing is kept for other subsets.
        """
        kept, some = chosen in self.sums, self.parts.among(chosen) if isinstance(self.parts, FewRows) else None
        for target, ridge in ridges.items():
            map_ = None if some is None else some.map(target, ridge)
            yield target, map_ or coordinate_least_squares(self.moments(target, chosen), ridge)
        if not kept:
            self.sums.pop(chosen, None)

    def label_only_map(self, target: str, C_T: Classifier | None) -> AffineMap:
        """Return the least-squares map from the source's label-only control, with the ridge of the source itself.

        Raises ValueError if there are no labelled rows to make a control from.
        """
        if self.label_only is None:
            raise ValueError(f"expected labelled training rows of {self.source!r}, there are too few")
        whole = tuple(range(len(PARTS)))
        moments = self.label_only.label_only_moments(target, self.moments(target, whole))
        self.label_only_basis = self.label_only_basis or Basis.of(moments)
        return least_squares(moments, self.ridge(target, len(PARTS), C_T), self.label_only_basis)

    def label_only_vectors(self, seed: int) -> LabelOnly | None:
        """Return the control that stands in for the source's features; None if it cannot be made."""
        if self.label_only is None:
            return None
        space = self.spaces.get(self.source)
        means = self.label_only.means if space is None else self.label_only.means @ space.double().T
        spread = self.label_only.spread(means.shape[1])
        return LabelOnly(means.cpu().numpy(), (self.label_only.counts > 0).cpu().numpy(), spread, seed)

    def ridge(self, target: str, parts: int, C_T: Classifier | None) -> float:
        """Return the ridge for the first `parts` of the PARTS, chosen once."""
        if (target, parts) not in self.ridges:
            self.ridges[target, parts] = self.choose_ridge(target, parts, self.metric(target, C_T))
        return self.ridges[target, parts]

    def metric(self, target: str, C_T: Classifier | None) -> ScoreMetric:
        """Return the metric of the target's class scores, for its features or for their coordinates in its space.

        Without a classifier it is that of the features themselves. The last target's is kept, since a target's ridges
        are chosen one after another.
        """
        if target not in self.metrics:
            self.metrics = {target: ScoreMetric.of(self._rows_in_space(target, C_T), self.parts.like(target))}
        return self.metrics[target]

    def _rows_in_space(self, target: str, C_T: Classifier | None) -> torch.Tensor | None:
        if C_T is None:
            return None
        weight, space = label_rows(C_T)[0].double(), self.spaces.get(target)
        return weight if space is None else weight @ space.cpu().double()

    def choose_ridge(self, target: str, parts: int, metric: ScoreMetric) -> float:
        """Return the ridge for the first `parts` of the PARTS, chosen by cross-validation without labels."""
        folds = folds_of(parts)
        splits = []
        for fold in folds:
            others = tuple(sorted(set(range(parts)) - set(fold)))
            spectrum = Spectrum.of(metric.seen(self.moments(target, others)), self.basis(others))
            held_out = metric.seen(self.moments(target, fold))
            if (others, fold) not in self.held_out:
                self.held_out[others, fold] = spectrum.basis.held_out(held_out)
            splits.append((spectrum, held_out, self.held_out[others, fold]))
        return best_ridge(splits, metric.Q)[0]

    def basis(self, chosen: Chosen) -> Basis:
        """Return the source's basis over some of the parts."""
        if chosen not in self.bases:
            self.bases[chosen] = Basis.of(self.moments(self.parts.targets[0], chosen))
        return self.bases[chosen]

    def moments(self, target: str, chosen: Chosen) -> Moments:
        """Return the sums of one pair over some of the parts."""
        if chosen not in self.sums:
            self.sums[chosen] = self.parts.source(chosen)
        source = self.sums[chosen]
        both = SourceMoments(source.n, source.x, source.XX, {target: self.parts.target(target, chosen)})
        return both.pair(target, self.spaces.get(self.source), self.spaces.get(target))


def folds_of(parts: int) -> list[Chosen]:
    """Return the first `parts` of the PARTS as folds of about equal size, FOLDS at most."""
    divided = len(PARTS) - SIXTEENTHS + 1  # parts that make up the first sixteenth
    units: list[Chosen] = [(place,) for place in range(parts)]
    if parts > divided:
        units = [tuple(range(divided)), *units[divided:]]
    size = -(-len(units) // FOLDS)
    return [tuple(chain.from_iterable(units[start : start + size])) for start in range(0, len(units), size)]


def label_rows(classifier: Classifier) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight (classes, d) and bias (classes,) of the classes that labels can name, without the background."""
    return classifier.weight[classifier.offset :], classifier.bias[classifier.offset :]
