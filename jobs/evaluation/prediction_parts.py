"""What a task of jobs.predict does: it feeds classifiers with the features of one chunk of images."""

from __future__ import annotations

import pyarrow as pa

from jobs.evaluation.compositions import Composition, MapRecords, Written
from lib.evaluation.prediction_tables import slices
from lib.evaluation.predictions import PredictMapped, PredictOwn
from lib.experiment.layout import Layout, part_in
from lib.features.chunks import Chunk, read_chunk
from lib.maps.affine import AffineMap
from lib.networks.classifiers import load_classifier
from lib.networks.devices import best_device
from lib.storage.parquet import write_table
from lib.storage.records import FileRecord


def write_parts(
    files: Layout, compositions: dict[Composition, MapRecords], number: int, chunk: Chunk, among: list[int] | None
) -> Written:
    """Write one chunk's part of these prediction tables. Return how many rows each part has, and its file's record.

    A repeated task writes the same files.
    """
    rows, device = read_chunk(chunk), best_device()
    written = {}
    for item in sorted(compositions, key=lambda item: item.target):
        classifier = load_classifier(files, item.target)
        predict: PredictOwn | PredictMapped = PredictOwn(item.target, classifier, device, among)
        if item.variants:
            maps = {column: AffineMap.load(*recorded) for column, recorded in compositions[item].items()}
            predict = PredictMapped(item.source, item.target, classifier, maps, device, among)
        predicted = pa.concat_tables([item.schema().empty_table(), *map(predict, slices(rows))])
        uri = part_in(files.predictions(item.source, item.target, item.split), number)
        written[item] = {uri: FileRecord.of(write_table(uri, predicted))}
    return dict.fromkeys(compositions, len(rows)), written
