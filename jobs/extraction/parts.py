"""Which images stand together in one file of a feature table, and in what order.

The same in every run of the same settings, whatever died in between: sums over a table add up in the order of its
files, and come out equal.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa

from lib.experiment.settings import ExtractSettings

FEW = 32  # files of a table where there are batches enough, so that all cores have work
SMALLEST, BLOCK = 16, 256  # rows


def part_size(rows: int, options: ExtractSettings) -> int:
    """Rows of each file but the last, for a run of so many: whole batches, since a GPU computes no others. Another
    extract.batch_size or extract.rows_per_file makes other parts.
    """
    return min(options.rows_per_file, whole_batches(max(SMALLEST, rows // FEW), options.batch_size))


def whole_batches(rows: int, batch: int) -> int:
    """So many rows, and what is missing to the last batch."""
    return -(-rows // batch) * batch


def part_name(networks: str, size: int, part: int) -> str:
    """A file's name. Files of another size have other names, so that none takes the place of another's rows."""
    return f"{networks}@{size}-{part:08d}.parquet"


def blocks(rows: pa.Table, size: int, batch: int) -> list[pa.Table]:
    """Rows with a column `row`, ascending, as Ray Data's blocks: parts of `size`, each cut into equal pieces.

    Ray Data gathers blocks, in order, until it has as many rows as an operator wants, `batch` or `size`. No piece is
    below `batch`, unless it is a whole part; parts that aren't full stand at the end, uncut: so nothing that it gathers
    ends inside a part.
    """
    part = rows["row"].to_numpy() // size
    edges = [*np.flatnonzero(np.diff(part, prepend=-1)), len(rows)]
    parts = [rows.slice(start, end - start) for start, end in pairwise(edges)]
    full, short = ([one for one in parts if (len(one) == size) == is_full] for is_full in (True, False))
    return [piece for one in full for piece in cut(one, max(1, size // max(BLOCK, batch)))] + short


def in_batches(rows: pa.Table, batch: int) -> list[pa.Table]:
    """Rows that are in no parts as blocks of whole batches: enough for all cores, none too large."""
    size = whole_batches(min(BLOCK, max(SMALLEST, len(rows) // FEW)), batch)
    return [rows.slice(start, size) for start in range(0, len(rows), size)]


def cut(rows: pa.Table, count: int) -> list[pa.Table]:
    edges = [len(rows) * place // count for place in range(count + 1)]
    return [rows.slice(start, end - start) for start, end in pairwise(edges)]
