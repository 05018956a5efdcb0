"""Parquet files by URI: written whole, read whole or by column."""

from __future__ import annotations

import hashlib
import io
import os
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from lib.errors import DamagedFile, TableError
from lib.storage.columns import is_vectors, without_nulls
from lib.storage.files import files_below, write_bytes
from lib.storage.records import FileRecord, read_recorded
from lib.storage.uris import resolve

MAGIC = b"PAR1"  # a Parquet file's last bytes
PAGES_DIGEST = b"pages_sha256"  # the key in a footer of the digest of all that stands before it
CHECKED = ds.ParquetFragmentScanOptions(page_checksum_verification=True)


def write_table(uri: str, table: pa.Table, row_group: int | None = None) -> pa.Buffer:
    """Write one Parquet file so that no reader ever sees half of it, and return its bytes.

    A row group has `row_group` rows at most; None takes pyarrow's own number. Vectors are marked as never null where
    none is (lib.storage.columns). The file's pages have checksums, and its footer a digest of them all.
    """
    file, table = io.BytesIO(), without_nulls(table)
    with pq.ParquetWriter(file, table.schema, **how_written(table.schema)) as writer:
        writer.write_table(table, row_group)
        writer.add_key_value_metadata({PAGES_DIGEST.decode(): hashlib.sha256(file.getbuffer()).hexdigest()})
    written = pa.py_buffer(file.getvalue())
    write_bytes(uri, written)
    return written


def how_written(schema: pa.Schema) -> dict[str, Any]:
    """Return the arguments of pyarrow's writer for a table.

    It is compressed by zstd without a dictionary, with which features compress worse; vectors of float32 as their
    bytes' planes. Nobody looks for vectors by the least and the largest of all their numbers.
    """
    return {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": False,
        "column_encoding": byte_planes(schema),
        "write_statistics": [field.name for field in schema if not is_vectors(field.type)],
        "write_page_checksum": True,
    }


def byte_planes(schema: pa.Schema) -> dict[str, str]:
    """Return Parquet's encoding of the columns whose bytes stand plane by plane: vectors of float32.

    They are 2 to 9 % smaller so (lib/benchmarks/README.md). DuckDB cannot read vectors of float16 of this encoding.
    """
    planes = [field for field in schema if is_vectors(field.type) and field.type.value_type == pa.float32()]
    return {f"{field.name}.list.element": "BYTE_STREAM_SPLIT" for field in planes}


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
    if not named:
        return schema.empty_table()
    return ds.dataset(named, schema, ds.ParquetFileFormat(default_fragment_scan_options=CHECKED), filesystem).to_table()


def read_table(uri: str, schema: pa.Schema, record: FileRecord | None = None) -> pa.Table:
    """Return the rows of one Parquet file, which has this schema. Raises DamagedFile if it is not what was written."""
    data = read_recorded(uri, record)
    try:
        return pq.read_table(pa.BufferReader(data), schema=schema, page_checksum_verification=True)
    except (OSError, pa.ArrowInvalid) as error:
        raise DamagedFile(uri, str(error).splitlines()[0].rstrip(". ")) from error
