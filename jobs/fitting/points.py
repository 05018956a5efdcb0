"""Maps that are only counted: draws of training rows, and the controls that are floor and ceiling of a map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch

from jobs.fitting.works import Curves
from lib.evaluation.coordinates import Coordinates
from lib.evaluation.points import CountPoints, LabelOnlyRows
from lib.evaluation.prediction_tables import FILE_ROWS, SLICE, slices
from lib.evaluation.predictions import PredictMapped
from lib.experiment.layout import Layout
from lib.experiment.variants import LABEL_ONLY, SELF, Subset, Variant
from lib.features.chunks import read_chunk, split_into_chunks
from lib.features.tables import FeatureTables
from lib.maps.affine import AffineMap
from lib.maps.closed_forms import ClosedForms
from lib.networks.classifiers import load_classifier

Made = tuple[str, str, AffineMap, dict[str, Any]]  # target, the point's name, its map, and what is known of it


class PointCounter:
    """Counts what maps of one source predict on the evaluation images, as many maps at once as `room` bytes hold."""

    def __init__(self, files: Layout, tables: FeatureTables, forms: ClosedForms, room: float, seed: int) -> None:
        self.files, self.tables, self.source, self.room = files, tables, forms.source, room
        self.spaces, self.device = forms.spaces, forms.parts.device
        self.control = forms.label_only_vectors(seed)
        self.found: dict[str, list[dict[str, Any]]] = {}  # by target

    def count(self, made: Iterable[Made]) -> None:
        """Count these maps."""
        held: list[Made] = []
        taken = 0
        for point in made:
            held.append(point)
            taken += sum(factor.numel() * factor.element_size() for factor in point[2].factors)
            if taken > self.room / 2:
                self._count(held)
                held, taken = [], 0
        self._count(held)

    def _count(self, held: Sequence[Made]) -> None:
        if not held:
            return
        targets = list(dict.fromkeys(target for target, *_ in held))
        networks = list(dict.fromkeys([self.source, *targets]))
        counters: list[tuple[CountPoints, list[Made]]] = []
        for (target, kind), points in groupby(sorted(held, key=target_and_kind), target_and_kind):
            mine = list(points)
            counters.append((self._counter(target, kind, {name: map_ for _, name, map_, _ in mine}), mine))
        rows = int(self.room / 2 / (4 * sum(self.tables.sizes(networks).values())))
        for chunk in split_into_chunks(self.tables, networks, max(SLICE // 4, min(rows, FILE_ROWS))):
            for slice_ in slices(read_chunk(chunk)):
                for counter, _ in counters:
                    counter(slice_)
        for counter, mine in counters:
            counted = counter.points()
            for target, name, _, described in mine:
                self.found.setdefault(target, []).append({"name": name, **described, **counted[name]})

    def _counter(self, target: str, kind: str, maps: Mapping[str, AffineMap]) -> CountPoints:
        """Return what counts maps of one kind to one target."""
        C_T, C_S = (load_classifier(self.files, network) for network in (target, self.source))
        if kind == LABEL_ONLY and self.control is not None:
            predict = PredictMapped(self.source, target, C_T, maps, self.device)
            return CountPoints(predict, LabelOnlyRows(self.source, target, self.control))
        if kind == SELF:
            return CountPoints(PredictMapped(self.source, target, C_T, maps, self.device), None, (C_T, C_S))
        inside = Coordinates(self.source, target, self.spaces, self.device)
        maps = {name: inside.map(map_) for name, map_ in maps.items()}
        predict = PredictMapped(self.source, target, inside.classifier(C_T), maps, self.device)
        return CountPoints(predict, inside.rows, (C_T, C_S))


def target_and_kind(point: Made) -> tuple[str, str]:
    """Return what points that are counted together have in common: the target, and which control, or "" for none."""
    target, name, *_ = point
    return target, name if name in (SELF, LABEL_ONLY) else ""


def points_of(forms: ClosedForms, wanted: Sequence[Curves], files: Layout) -> Iterator[Made]:
    """Yield the maps of one source that are only counted: its controls first, then one draw of rows after another.

    Those of drawn rows are between the coordinates in the rows' spaces.
    """
    classifiers = {curves.target: load_classifier(files, curves.target) for curves in wanted}
    for curves in wanted:
        target = curves.target
        if curves.controls and target == forms.source:
            for _, map_, described in forms.maps(target, [Variant("least_squares")], classifiers[target]):
                yield target, SELF, on_cpu(map_), described
        elif curves.controls and forms.label_only is not None:
            yield target, LABEL_ONLY, on_cpu(forms.label_only_map(target, classifiers[target])), {}
    drawn: dict[Subset, list[Curves]] = {}
    for curves in wanted:
        for subset in curves.subsets:
            drawn.setdefault(subset, []).append(curves)
    for subset, theirs in drawn.items():
        parts = subset.parts(theirs[0].seed)
        share = Variant("least_squares", share=subset.share)
        ridges = {
            curves.target: forms.ridge(curves.target, share.parts, classifiers[curves.target]) for curves in theirs
        }
        described = {"share": subset.share, "subset": subset.number, "rows": sum(map(forms.parts.count, parts))}
        for target, map_ in forms.subset_maps(parts, ridges):
            yield target, subset.name, on_cpu(map_), described


def on_cpu(map_: AffineMap) -> AffineMap:
    """Return the map in the node's memory, where it waits until it is judged."""
    return map_.to(torch.device("cpu"))
