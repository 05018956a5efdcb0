"""Fetch the bytes of listed images: whole files, ranges of tar shards, rows of Parquet files."""

from __future__ import annotations

import pyarrow as pa

from lib.errors import StorageError
from lib.images.parquet_images import read_parquet_row
from lib.storage.files import read_bytes
from lib.storage.uris import resolve


def read_images(listing: pa.Table) -> list[bytes | Exception]:
    """Return the bytes of each LISTING row, or the exception if they cannot be fetched."""
    found: list[bytes | Exception] = []
    for row in listing.select(["path", "start", "length", "column"]).to_pylist():
        try:
            found.append(_read_image(**row))
        except (OSError, StorageError, pa.ArrowInvalid) as error:
            found.append(error)
    return found


def _read_image(path: str, start: int | None, length: int | None, column: str | None) -> bytes:
    """Return the bytes of one LISTING row."""
    if start is None:
        return read_bytes(path)
    if column is not None:
        return read_parquet_row(path, column, start)
    filesystem, name = resolve(path)
    with filesystem.open_input_file(name) as file:
        return bytes(file.read_at(length, start))
