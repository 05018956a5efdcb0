"""Images whose bytes lie in Parquet files."""

from __future__ import annotations

import posixpath
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lib.errors import ListingError
from lib.experiment.settings import Split
from lib.images.columns import BINARY, NUMBER, STRING, STRUCT, check_columns
from lib.images.labels import parse_label
from lib.images.schemas import Row
from lib.storage.files import files_below, is_file
from lib.storage.uris import resolve, uri_beside

ROW = "#row"  # id_column's value for row numbers


def list_parquet(split: Split, classes: list[str] | None) -> list[Row]:
    """List images whose bytes are in Parquet, plain or as Hugging Face's struct of bytes and path."""
    filesystem, root = resolve(split.location)
    files = [root] if is_file(split.location) else files_below(split.location, ".parquet", recursive=True)
    place = {name: index for index, name in enumerate(classes or [])}
    rows: list[Row] = []
    for file in files:
        schema = pq.read_schema(file, filesystem=filesystem)
        if split.image_column not in schema.names:
            raise ListingError(f"{file}: no column {split.image_column!r}, found {schema.names}; set image_column")
        check_columns(file, schema, {split.image_column: (BINARY, STRUCT), split.label_column: (STRING, NUMBER)})
        image = schema.field(split.image_column).type
        if split.id_column not in (None, ROW, *schema.names):
            raise ListingError(f"{file}: no column {split.id_column!r}, found {schema.names}; set id_column")
        candidates = ("image_id", "key") if split.id_column is None else (split.id_column,)
        names = [name for name in candidates if name in schema.names][:1]
        if split.id_column is None and not names and pa.types.is_struct(image) and image.get_field_index("path") >= 0:
            names = [f"{split.image_column}.path"]
        wanted = [*names, *([split.label_column] if split.label_column in schema.names else [])]
        with pq.ParquetFile(file, filesystem=filesystem) as parquet:  # reads a struct's field without its brother
            table, count = parquet.read(columns=wanted), parquet.metadata.num_rows
        ids: list[str | None] = [None] * count
        if names:
            column = table[names[0].partition(".")[0]].combine_chunks()
            column = pc.struct_field(column, "path") if pa.types.is_struct(column.type) else column
            ids = column.cast(pa.string()).to_pylist()  # numbers become text
        labels = table[split.label_column].to_pylist() if split.label_column in schema.names else [None] * count
        name = file[len(root) + 1 :] or posixpath.basename(file)
        for row, (image_id, label) in enumerate(zip(ids, labels, strict=True)):
            uri = uri_beside(split.location, file)
            rows.append(
                (
                    image_id if image_id is not None else f"{name}:{row}",
                    parse_label(f"{file}: row {row}", label, place),
                    uri,
                    row,
                    None,
                    split.image_column,
                )
            )
    return rows


def read_parquet_row(path: str, column: str, row: int) -> bytes:
    """Return the image's bytes in one row of a file. Raises OSError if the row has none."""
    starts = _row_group_starts(path)
    group = int(np.searchsorted(starts, row, side="right")) - 1
    value = _row_group(path, column, group)[row - int(starts[group])].as_py()
    if value is None:
        raise OSError(f"row {row} of {path} has no image")
    return bytes(value)


@lru_cache(maxsize=4)
def _row_group_starts(path: str) -> np.ndarray:
    """Return the first row's number of each row group."""
    filesystem, name = resolve(path)
    footer = pq.read_metadata(name, filesystem=filesystem)
    return np.cumsum([0, *(footer.row_group(k).num_rows for k in range(footer.num_row_groups - 1))])


@lru_cache(maxsize=2)  # successive batches come from the same row group
def _row_group(path: str, column: str, group: int) -> pa.ChunkedArray:
    """Return the images' bytes of one row group, from a binary column or Hugging Face's struct of bytes and path."""
    filesystem, name = resolve(path)
    with pq.ParquetFile(name, filesystem=filesystem) as file:
        images = file.read_row_group(group, columns=[column])[column]
    if pa.types.is_struct(images.type):
        return pa.chunked_array([chunk.field("bytes") for chunk in images.chunks])
    return images
