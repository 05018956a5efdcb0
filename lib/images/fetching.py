"""Fetch the bytes of listed images: whole files, ranges of tar shards, rows of Parquet files.

Neighbours in a shard come by one ranged read, as those of a row group do. No image is taken from a file that is another
one than when it was listed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from lib.errors import StorageError
from lib.images.parquet_images import read_parquet_row
from lib.storage.versions import Versioned, open_versioned, version_now

HOLE = 2**20  # bytes between two images that are read along with them: a request takes as long
AT_ONCE = 2**25  # bytes of one read, at most, unless one image has more

Fetched = bytes | Exception


def read_images(listing: pa.Table) -> list[Fetched]:
    """Return the bytes of each LISTING row, or the exception if they cannot be fetched.

    A ChangedFileError is the answer for all rows of a file that changed after it was listed.
    """
    rows = listing.select(["path", "start", "length", "column", "size", "version"]).to_pylist()
    found: list[Fetched] = [b""] * len(rows)
    by_file: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        by_file.setdefault(row["path"], []).append(place)
    for path, places in by_file.items():
        listed = Versioned(path, rows[places[0]]["size"], rows[places[0]]["version"])
        if rows[places[0]]["start"] is None:
            answers: Iterator[tuple[int, Fetched]] = _whole(path, listed, places)
        elif rows[places[0]]["column"] is None:
            answers = _ranges(path, listed, [(rows[at]["start"], rows[at]["length"], at) for at in places])
        else:
            answers = _rows(path, listed, [(rows[at]["column"], rows[at]["start"], at) for at in places])
        try:
            for place, data in answers:
                found[place] = data
        except (OSError, StorageError, pa.ArrowInvalid) as error:
            for place in places:
                found[place] = error
    return found


class ChangedFileError(StorageError):
    """A file is another one than when it was listed."""


def _check(path: str, listed: Versioned, now: Versioned) -> None:
    if listed.changed(now):
        raise ChangedFileError(
            f"{path} is another file than when it was listed: {_said(listed)} then, {_said(now)} now. Use "
            "--overwrite to list it anew"
        )


def _said(file: Versioned) -> str:
    return f"{'?' if file.size is None else file.size} bytes of time {file.version or '?'}"


def _whole(path: str, listed: Versioned, places: list[int]) -> Iterator[tuple[int, Fetched]]:
    """Read a whole file, and check that it is the listed one."""
    with open_versioned(path) as (file, now):
        _check(path, listed, now)
        data = bytes(file.read())
    yield from ((place, data) for place in places)


def _ranges(path: str, listed: Versioned, wanted: list[tuple[int, int, int]]) -> Iterator[tuple[int, Fetched]]:
    """Read ranges (start, length, place) of a file, neighbours at once."""
    with open_versioned(path) as (file, now):
        _check(path, listed, now)
        for group in neighbours(sorted(wanted)):
            first = group[0][0]
            end = max(start + length for start, length, _ in group)
            data = memoryview(file.read_at(end - first, first))
            for start, length, place in group:
                yield place, bytes(data[start - first : start - first + length])


def neighbours(wanted: list[tuple[int, int, int]]) -> Iterator[list[tuple[int, int, int]]]:
    """Cut sorted ranges (start, length, place) into groups that are worth one read each."""
    group: list[tuple[int, int, int]] = []
    for one in wanted:
        if group:
            end = max(start + length for start, length, _ in group[-1:])
            if one[0] - end > HOLE or one[0] + one[1] - group[0][0] > AT_ONCE:
                yield group
                group = []
        group.append(one)
    if group:
        yield group


def _rows(path: str, listed: Versioned, wanted: list[tuple[str, int, int]]) -> Iterator[tuple[int, Fetched]]:
    """Read rows (column, row, place) of a Parquet file; a row without an image has an exception of its own."""
    now = version_now(path)
    _check(path, listed, now)
    for column, row, place in wanted:
        try:
            yield place, read_parquet_row(path, repr((now.size, now.version)), column, row)
        except OSError as error:
            yield place, error
