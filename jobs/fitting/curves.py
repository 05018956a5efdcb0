"""Maps that are points of a curve: they are judged where they are fitted, so that no file has to hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import torch
from torch.nn.functional import normalize

from jobs.fitting.works import Curves
from lib.evaluation.coordinates import Coordinates
from lib.evaluation.prediction_tables import FILE_ROWS, SLICE, mapped_schema, slices
from lib.evaluation.predictions import PredictMapped
from lib.evaluation.retrieval import look_up, retrieval
from lib.experiment.layout import Layout, map_name, part_in
from lib.experiment.variants import Variant
from lib.features.chunks import read_chunk, split_into_chunks
from lib.features.sampling import read_sample
from lib.features.tables import FeatureTables
from lib.maps.affine import AffineMap
from lib.maps.closed_forms import ClosedForms
from lib.networks.classifiers import load_classifier
from lib.storage.parquet import write_table
from lib.storage.records import FileRecord


@dataclass(frozen=True)
class FittedCurves:
    """The maps of a pair's curves, and what is known of each."""

    curves: Curves
    maps: dict[Variant, AffineMap]
    described: dict[Variant, dict[str, Any]]
    records: dict[str, FileRecord] = field(default_factory=dict)  # of the files that are written

    def keep(self, files: Layout, train: FeatureTables) -> None:
        """Write the maps, if they are to be kept."""
        for variant, map_ in self.maps.items() if self.curves.keep else ():
            name = map_name(self.curves.source, self.curves.target, variant.name)
            self.records[files.map(name)] = (map_ if variant.rank else map_.multiplied()).save(
                files.map(name), train.origin(self.curves.source, self.curves.target, variant.name)
            )


def judge_curves(
    files: Layout, tables: FeatureTables, fitted: Sequence[FittedCurves], forms: ClosedForms, room: float
) -> int:
    """Write the predictions of these maps of one source on the evaluation images; return how many images.

    They are computed where the sums are, in the rows' spaces if they have any. Features are read once for all maps, in
    chunks of about `room` bytes.
    """
    fitted = [found for found in fitted if found.maps]
    if not fitted:
        return 0
    source = fitted[0].curves.source
    networks = [source, *(found.curves.target for found in fitted)]
    rows = int(room / (4 * sum(tables.sizes(networks).values())))
    judges = [judge(files, found, forms) for found in fitted]
    waiting: list[list[pa.Table]] = [[] for _ in fitted]
    written = held = part = 0
    chunks = split_into_chunks(tables, networks, max(SLICE // 4, min(rows, FILE_ROWS)))
    for place, chunk in enumerate(chunks):
        images = read_chunk(chunk)
        held += len(images)
        for slice_ in slices(images):
            for tables_, predict in zip(waiting, judges, strict=True):
                tables_.append(predict(slice_))
        if held < FILE_ROWS and place < len(chunks) - 1:
            continue
        for tables_, found in zip(waiting, fitted, strict=True):
            uri = part_in(files.curve_predictions(source, found.curves.target), part)
            found.records[uri] = FileRecord.of(write_table(uri, pa.concat_tables(tables_)))
            tables_.clear()
        written, held, part = written + held, 0, part + 1
    return written


def judge(files: Layout, found: FittedCurves, forms: ClosedForms) -> Callable[[pa.Table], pa.Table]:
    """Return what makes predictions by a pair's maps from rows of a feature table."""
    source, target = found.curves.source, found.curves.target
    inside = Coordinates(source, target, forms.spaces, forms.parts.device)
    maps = {variant.column: inside.of_features(found.maps[variant]) for variant in found.curves.variants}
    C_T = inside.classifier(load_classifier(files, target))
    predict = PredictMapped(source, target, C_T, maps, forms.parts.device)
    return lambda rows: predict(inside.rows(rows))


def rank_images(tables: FeatureTables, fitted: Sequence[FittedCurves], device: torch.device) -> None:
    """Look up the queries of maps from parts of the training rows, which have one source, in their targets' indexes.

    What they find is added to what is known of each map.
    """
    for found in fitted:
        variants = [variant for variant in found.curves.variants if variant.rank is None]
        if not variants or not found.curves.ranked:
            continue
        source, target = found.curves.source, found.curves.target
        X, Y = (read_sample(tables, name, found.curves.ranked).vectors[name] for name in (source, target))
        own = normalize(torch.tensor(Y, device=device), dim=1)
        near = look_up(own, own).near
        for variant in variants:
            mapped = normalize(found.maps[variant].to(device)(torch.tensor(X, device=device)), dim=1)
            found.described[variant]["retrieval"] = dict(retrieval(mapped, own, near))


def finish_curves(fitted: Sequence[FittedCurves], rows: int, points: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write the manifests of pairs whose predictions of `rows` images are written, with their `points` by target."""
    for found in fitted:
        maps = {variant.column: described for variant, described in found.described.items()}
        schema = mapped_schema(maps) if maps else None
        counted = points.get(found.curves.target, [])
        found.curves.artifact.finish(rows if maps else 0, schema, found.records, maps=maps, points=counted)
