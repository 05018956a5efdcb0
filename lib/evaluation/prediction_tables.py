"""Tables of predictions: their columns, and how they are read. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from lib.experiment.layout import manifest_in
from lib.storage.files import for_all
from lib.storage.manifests import read_records
from lib.storage.parquet import read_rows, read_table

FILE_ROWS = 65_536  # of a file with predictions, about
SLICE = 4096  # rows that are judged at once
IMAGES = pa.schema([("image_id", pa.string()), ("label", pa.int32())])
PREDICTIONS = IMAGES.append(pa.field("predicted", pa.int32()))
# Mapped features also have E of each image (squared distance of unit vectors) and the length ratio |M F_S| / |F_T|.
MAPPED = (("predicted", pa.int32()), ("error", pa.float32()), ("length_ratio", pa.float32()))


def mapped_schema(columns: Iterable[str]) -> pa.Schema:
    """Return the schema of a pair's prediction table: predicted_x, error_x and length_ratio_x for each map x of it."""
    fields = [pa.field(f"{what}_{column}", type_) for column in columns for what, type_ in MAPPED]
    return pa.schema([*IMAGES, *fields])


def maps_in(schema: pa.Schema) -> list[str]:
    """Return the maps of a pair's prediction table, as its columns name them."""
    return [name.removeprefix("predicted_") for name in schema.names if name.startswith("predicted_")]


def slices(rows: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows in slices that are judged at once."""
    for first in range(0, len(rows), SLICE):
        yield rows.slice(first, SLICE)


def read_predicted(folder: str, schema: pa.Schema) -> pa.Table:
    """Return these columns of the prediction table in `folder`, checked against its manifest.

    Raises DamagedFile if a file is missing or is not what was written.
    """
    records = read_records(manifest_in(folder))
    if not records:  # an earlier version wrote it
        return read_rows(folder, schema)
    files = {uri: record for uri, record in sorted(records.items()) if uri.rpartition("/")[0] == folder}
    tables = for_all(lambda uri: read_table(uri, schema, files[uri]), files)
    return pa.concat_tables([schema.empty_table(), *tables])
