"""Images whose bytes lie in Parquet files."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lib.errors import ListingError
from lib.experiment.settings import Split
from lib.images.columns import BINARY, NUMBER, STRING, STRUCT, check_columns
from lib.images.labels import parse_labels
from lib.images.sources import Listed, Source, Sources, images_table
from lib.images.split_files import split_files
from lib.storage.uris import resolve, uri_beside

ROW = "#row"  # id_column's value for row numbers
IDS = (STRING, NUMBER)


def parquet_sources(split: Split, classes: list[str] | None) -> Sources:
    """Return the Parquet files of a split."""
    root, files = split_files(split.location, ".parquet", recursive=True)
    names = None if classes is None else tuple(classes)
    return Sources(split, "parquet", root, names, tuple(map(Source, files)))


def list_file(found: Sources, source: Source) -> Listed:
    """List images whose bytes are in Parquet, plain or as Hugging Face's struct of bytes and path."""
    split, file = found.split, source.file
    ids, labels = _read_ids_and_labels(split, file.path)
    name = file.path[len(found.root) + 1 :]
    numbers = pa.array(np.arange(len(ids)))
    numbered = pc.binary_join_element_wise(name, numbers.cast(pa.string()), ":")
    images = images_table(
        len(ids),
        image_id=pc.coalesce(ids, numbered),
        label=parse_labels(lambda row: f"{file.path}: row {row}", labels, found.labels),
        path=uri_beside(split.location, file.path),
        start=numbers,
        column=split.image_column,
        size=file.size,
        version=file.version,
    )
    return Listed(images)


def _read_ids_and_labels(split: Split, file: str) -> tuple[pa.Array, pa.Array | pa.ChunkedArray]:
    """Return each row's id, None where it has none, and its label as the file has it.

    Raises ListingError if a column is missing or has a type that cannot be used.
    """
    filesystem, _ = resolve(split.location)
    with pq.ParquetFile(file, filesystem=filesystem) as parquet:  # reads a struct's field without its brother
        schema, count = parquet.schema_arrow, parquet.metadata.num_rows
        for setting, column in (("image_column", split.image_column), ("id_column", split.id_column)):
            if column not in (None, ROW, *schema.names):
                raise ListingError(f"{file}: no column {column!r}, found {schema.names}; set {setting}")
        id_column = _id_column(split, schema)
        kinds = {split.image_column: (BINARY, STRUCT), split.label_column: (STRING, NUMBER)}
        check_columns(file, schema, kinds | ({id_column: IDS} if id_column else {}))
        in_struct = id_column is None and split.id_column is None and _has_path(schema.field(split.image_column).type)
        wanted = [f"{split.image_column}.path"] if in_struct else [id_column] if id_column else []
        table = parquet.read(columns=[*wanted, *({split.label_column} & set(schema.names))])
    ids = pa.nulls(count, pa.string())
    if in_struct:
        ids = pc.struct_field(table[split.image_column].combine_chunks(), "path").cast(pa.string())
    elif id_column is not None:
        ids = table[id_column].cast(pa.string()).combine_chunks()  # numbers become text
    return ids, table[split.label_column] if split.label_column in schema.names else pa.nulls(count)


def _id_column(split: Split, schema: pa.Schema) -> str | None:
    """Return the column with the images' ids, None if there is none."""
    candidates = ("image_id", "key") if split.id_column is None else (split.id_column,)
    return next((name for name in candidates if name in schema.names), None)


def _has_path(image: pa.DataType) -> bool:
    return bool(pa.types.is_struct(image) and image.get_field_index("path") >= 0)


def read_parquet_row(path: str, version: str, column: str, row: int) -> bytes:
    """Return the image's bytes in one row of a file, of which `version` is any text that tells its versions apart.

    Raises OSError if the row has none.
    """
    starts = _row_group_starts(path, version)
    group = int(np.searchsorted(starts, row, side="right")) - 1
    value = _row_group(path, version, column, group)[row - int(starts[group])].as_py()
    if value is None:
        raise OSError(f"row {row} of {path} has no image")
    return bytes(value)


@lru_cache(maxsize=4)
def _row_group_starts(path: str, version: str) -> np.ndarray:
    """Return the first row's number of each row group."""
    filesystem, name = resolve(path)
    footer = pq.read_metadata(name, filesystem=filesystem)
    return np.cumsum([0, *(footer.row_group(k).num_rows for k in range(footer.num_row_groups - 1))])


@lru_cache(maxsize=2)  # successive batches come from the same row group
def _row_group(path: str, version: str, column: str, group: int) -> pa.ChunkedArray:
    """Return the images' bytes of one row group, from a binary column or Hugging Face's struct of bytes and path."""
    filesystem, name = resolve(path)
    with pq.ParquetFile(name, filesystem=filesystem) as file:
        images = file.read_row_group(group, columns=[column])[column]
    if pa.types.is_struct(images.type):
        return pa.chunked_array([chunk.field("bytes") for chunk in images.chunks])
    return images
