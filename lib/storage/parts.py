"""The Parquet files that a large table is made of, each checked as it is read.

A page has a checksum, which is looked at whenever its rows are read. The footer has a digest of all pages, and a
manifest has the digest of each footer. So damage anywhere is found, and nobody reads more than the rows that he wants.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from lib.errors import DamagedFile
from lib.storage.columns import with_nulls
from lib.storage.files import for_all
from lib.storage.parquet import MAGIC, PAGES_DIGEST, parquet_files
from lib.storage.records import digest_of_bytes
from lib.storage.uris import resolve, uri_beside

TAIL = 2**16  # bytes that are read at once from a file's end; few footers are longer
LENGTH = 8  # bytes behind a footer: its length, and MAGIC
BLOCK = 2**20  # bytes that are digested at once
STORES = ("AWS Error", "google::cloud", "curl")  # words of errors that are not the file's, as pyarrow has them


@dataclass(frozen=True)
class Part:
    """One file of a table: its path in the table's file system, and what the manifest records of it.

    What an earlier version did not record is None.
    """

    path: str
    rows: int | None = None
    size: int | None = None  # bytes
    footer: str | None = None  # digest

    def as_json(self) -> dict[str, Any]:
        """Return what a manifest records."""
        return {"rows": self.rows, "size": self.size, "footer": self.footer}


def count_rows(folder: str) -> int:
    """Return how many rows the Parquet files directly in `folder` have, without those that are damaged."""

    def rows(path: str) -> int:
        try:
            return int(read_footer(folder, Part(path)).num_rows)
        except DamagedFile:
            return 0

    return sum(for_all(rows, parquet_files(folder)[1]))


@contextmanager
def naming_damage(location: str, path: str) -> Iterator[None]:
    """Turn what pyarrow raises of a damaged or missing file into DamagedFile; let a store's own errors pass."""
    uri = uri_beside(location, path)
    try:
        yield
    except FileNotFoundError as error:
        raise DamagedFile(uri, "it is missing, although its table's manifest names it") from error
    except (OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        if getattr(error, "errno", None) is not None or any(word in str(error) for word in STORES):
            raise
        raise DamagedFile(uri, str(error).splitlines()[0].rstrip(". ")) from error


def read_footer(folder: str, part: Part) -> pq.FileMetaData:
    """Return the footer of one file of the table in `folder`. Raises DamagedFile if it is not what was written."""
    filesystem = resolve(folder)[0]
    with naming_damage(folder, part.path), filesystem.open_input_file(part.path) as stream:
        size, footer = _footer(stream)
        _check_footer(part, size, footer)
        return pq.read_metadata(pa.BufferReader(footer))


def _footer(stream: pa.NativeFile) -> tuple[int, bytes]:
    """Return a Parquet file's size, and the bytes of its footer with what stands behind it. Raises OSError if there is
    none.
    """
    size = stream.size()
    tail = bytes(stream.read_at(min(size, TAIL), size - min(size, TAIL)))
    length = LENGTH + int.from_bytes(tail[-LENGTH : -len(MAGIC)], "little")
    if not tail.endswith(MAGIC) or size < LENGTH + len(MAGIC) or length > size:
        raise pa.ArrowInvalid(f"it has {size:,} bytes and no end, so that it was cut or emptied")
    return size, tail[-length:] if length <= len(tail) else bytes(stream.read_at(length, size - length))


def _check_footer(part: Part, size: int, footer: bytes) -> None:
    """Raise ArrowInvalid if a file is not the one that the manifest records."""
    if part.size is not None and size != part.size:
        raise pa.ArrowInvalid(f"it has {size:,} bytes, its table's manifest says {part.size:,}")
    if part.footer is not None and digest_of_bytes(footer) != part.footer:
        raise pa.ArrowInvalid("its footer is not the one that was written, as its table's manifest says")


@contextmanager
def open_part(folder: str, path: str, footer: pq.FileMetaData) -> Iterator[pq.ParquetFile]:
    """Open one file of the table in `folder` for reading rows, whose pages are checked. Raises DamagedFile."""
    filesystem = resolve(folder)[0]
    with (
        naming_damage(folder, path),
        pq.ParquetFile(path, metadata=footer, filesystem=filesystem, page_checksum_verification=True) as file,
    ):
        yield file


def read_part(folder: str, part: Part, columns: Sequence[str]) -> pa.Table:
    """Return some columns of one file of the table in `folder`. Raises DamagedFile."""
    with open_part(folder, part.path, read_footer(folder, part)) as file:
        return with_nulls(file.read(list(columns)))


def find_damage(folder: str, parts: Sequence[Part]) -> dict[Part, DamagedFile]:
    """Read these files of the table in `folder` whole, and return what is wrong with those that are damaged."""

    def look(part: Part) -> DamagedFile | None:
        """Return what is wrong with one file, if anything is."""
        try:
            check_part(folder, part)
        except DamagedFile as error:
            return error
        return None

    found = zip(parts, for_all(look, parts), strict=True)
    return {part: error for part, error in found if error is not None}


def check_part(folder: str, part: Part) -> None:
    """Read all bytes of one file of the table in `folder`, some at a time. Raises DamagedFile if one has changed."""
    filesystem = resolve(folder)[0]
    with naming_damage(folder, part.path), filesystem.open_input_file(part.path) as stream:
        size, footer = _footer(stream)
        _check_footer(part, size, footer)
        recorded = (pq.read_metadata(pa.BufferReader(footer)).metadata or {}).get(PAGES_DIGEST)
        if recorded is None:  # an earlier version wrote it
            return
        pages = hashlib.sha256()
        stream.seek(0)
        while stream.tell() < size - len(footer):
            pages.update(stream.read(min(BLOCK, size - len(footer) - stream.tell())))
        if pages.hexdigest().encode() != recorded:
            raise pa.ArrowInvalid("its pages are not those that were written, as its footer's digest says")


def list_parts(folder: str) -> list[Part]:
    """Return the files of a table, with what is to be recorded of them: each one's footer is read."""
    filesystem, files = parquet_files(folder)

    def record(path: str) -> Part:
        """Return one file's part."""
        with naming_damage(folder, path), filesystem.open_input_file(path) as stream:
            size, footer = _footer(stream)
            return Part(path, pq.read_metadata(pa.BufferReader(footer)).num_rows, size, digest_of_bytes(footer))

    return for_all(record, files)


def check_listed(folder: str, recorded: Mapping[str, Part]) -> None:
    """Raise DamagedFile if a file is missing in the table in `folder`, or has another size: by one listing.

    `recorded` has the parts by the files' names.
    """
    filesystem, path = resolve(folder)
    found = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    sizes = {info.base_name: info.size for info in found if info.type == pafs.FileType.File}
    for name, part in recorded.items():
        uri = uri_beside(folder, part.path)
        if name not in sizes:
            raise DamagedFile(uri, "it is missing, although its table's manifest names it")
        if sizes[name] != part.size:
            raise DamagedFile(uri, f"it has {sizes[name]:,} bytes, its table's manifest says {part.size:,}")
