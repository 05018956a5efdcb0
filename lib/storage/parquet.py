"""Parquet files by URI: written whole, read whole or by column."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from lib.errors import TableError
from lib.storage.files import files_below, read_bytes, write_bytes
from lib.storage.uris import resolve

MAGIC = b"PAR1"  # a Parquet file's last bytes


def write_table(uri: str, table: pa.Table) -> None:
    """Write one Parquet file so that no reader ever sees half of it.

    It is compressed by zstd without a dictionary, with which features compress worse.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=1, use_dictionary=False)
    write_bytes(uri, sink.getvalue())


def parquet_files(folder: str) -> tuple[pafs.FileSystem, list[str]]:
    """Return a folder's file system, and the sorted paths of the Parquet files directly in it."""
    return resolve(folder)[0], files_below(folder, ".parquet")


def read_schema(folder: str) -> pa.Schema:
    """Return the schema of the Parquet files in `folder`. Raises TableError if there are none."""
    filesystem, files = parquet_files(folder)
    if not files:
        raise TableError(f"{folder} has no rows")
    return pq.read_schema(files[0], filesystem=filesystem)


def read_rows(folder: str, schema: pa.Schema, prefix: str = "") -> pa.Table:
    """Return the columns of `schema` from all Parquet files directly in `folder` whose names begin with `prefix`.

    Rows come in the order of the files' names. Several files are read at once.
    """
    filesystem, files = parquet_files(folder)
    named = [file for file in files if os.path.basename(file).startswith(prefix)]
    return ds.dataset(named, schema, "parquet", filesystem).to_table() if named else schema.empty_table()


def read_table(uri: str, schema: pa.Schema) -> pa.Table:
    """Return the rows of one Parquet file, which has this schema."""
    return pq.read_table(pa.BufferReader(read_bytes(uri)), schema=schema)


def count_rows(folder: str) -> int:
    """Return how many rows the Parquet files directly in `folder` have, without those that lack their end."""
    filesystem, files = parquet_files(folder)
    whole = [file for file in files if _is_complete(filesystem, file)]
    return sum(pq.read_metadata(file, filesystem=filesystem).num_rows for file in whole)


def remove_truncated(folder: str) -> int:
    """Delete Parquet files that lack their end because their writer was killed. Return how many that were."""
    filesystem, files = parquet_files(folder)
    broken = 0
    for file in files:
        if not _is_complete(filesystem, file):
            filesystem.delete_file(file)
            broken += 1
    return broken


def _is_complete(filesystem: pafs.FileSystem, file: str) -> bool:
    """Return whether a Parquet file ends as one. Raises OSError if it cannot be read, which does not mean that it is
    truncated.
    """
    with filesystem.open_input_file(file) as stream:
        size = stream.size()
        return size > len(MAGIC) and bytes(stream.read_at(len(MAGIC), size - len(MAGIC))) == MAGIC
