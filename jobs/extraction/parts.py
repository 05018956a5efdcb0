"""Which images stand together in one file of a feature table, and in what order.

The answer is the same in every run with the same settings, whatever died in between. Sums over a table add up in the
order of its files, so they come out equal.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa

from lib.experiment.settings import ExtractSettings

FILES = 32  # that a table has at least if there are enough batches, so that all cores have work
SMALLEST, BLOCK = 16, 256  # rows


def part_size(rows: int, settings: ExtractSettings) -> int:
    """Return the rows in each file but the last, in a run with this number of rows.

    Files hold whole batches, since a GPU computes whole batches. Another extract.batch_size or extract.rows_per_file
    makes other parts.
    """
    return min(settings.rows_per_file, whole_batches(max(SMALLEST, rows // FILES), settings.batch_size))


def whole_batches(rows: int, batch: int) -> int:
    """Return `rows` rounded up to whole batches."""
    return -(-rows // batch) * batch


def part_name(networks: str, size: int, part: int) -> str:
    """Return a file's name. Files of another size have other names, so that they never replace each other."""
    return f"{networks}@{size}-{part:08d}.parquet"


def blocks(rows: pa.Table, size: int, batch: int) -> list[pa.Table]:
    """Cut rows with an ascending column `row` into Ray Data's blocks: parts of `size` rows, each cut into equal pieces.

    Ray Data gathers blocks in order until it has as many rows as an operator wants, `batch` or `size`. No piece has
    fewer rows than `batch`, unless it is a whole part. Incomplete parts come last and are not cut. So nothing that Ray
    Data gathers ends inside a part.
    """
    part = rows["row"].to_numpy() // size
    edges = [*np.flatnonzero(np.diff(part, prepend=-1)), len(rows)]
    parts = [rows.slice(start, end - start) for start, end in pairwise(edges)]
    full = [rows for rows in parts if len(rows) == size]
    incomplete = [rows for rows in parts if len(rows) < size]
    return [piece for rows in full for piece in cut(rows, max(1, size // max(BLOCK, batch)))] + incomplete


def in_batches(rows: pa.Table, batch: int) -> list[pa.Table]:
    """Cut rows that need no parts into blocks of whole batches: enough blocks for all cores, none too large."""
    size = whole_batches(min(BLOCK, max(SMALLEST, len(rows) // FILES)), batch)
    return [rows.slice(start, size) for start in range(0, len(rows), size)]


def cut(rows: pa.Table, count: int) -> list[pa.Table]:
    """Cut rows into `count` pieces whose lengths differ by one at most."""
    edges = [len(rows) * place // count for place in range(count + 1)]
    return [rows.slice(start, end - start) for start, end in pairwise(edges)]
