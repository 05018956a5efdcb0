"""Which images stand together in one file of a feature table, and in what order.

The answer is the same in every run with the same settings, whatever died in between. Sums over a table add up in the
order of its files, so they come out equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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


def rows_named(name: str) -> tuple[int, int]:
    """Return the first of the numbered rows that a file of this name holds, and where they end."""
    size, part = map(int, name.removesuffix(".parquet").rpartition("@")[2].split("-"))
    return size * part, size * (part + 1)


def pieces(rows: Sequence[tuple[int, int]], size: int, batch: int) -> np.ndarray:
    """Cut ranges of numbered rows, (first, end) in ascending order, into what one task decodes: (n, 2) first and end.

    Each range lies in one part of `size` rows; a whole part is cut into equal pieces. Ray Data gathers blocks in order
    until it has as many rows as an operator wants, `batch` or `size`. No piece has fewer rows than `batch`, unless it
    is a whole part. Incomplete parts come last and are not cut; ranges that touch, of a part in two splits, are one. So
    nothing that Ray Data gathers ends inside a part.
    """
    joined: list[list[int]] = []
    for first, end in rows:
        if joined and joined[-1][1] == first and joined[-1][0] // size == first // size:
            joined[-1][1] = end
        else:
            joined.append([first, end])
    ranges = np.array(joined, np.int64).reshape(-1, 2)
    full = ranges[ranges[:, 1] - ranges[:, 0] == size]
    incomplete = ranges[ranges[:, 1] - ranges[:, 0] < size]
    count = max(1, size // max(BLOCK, batch))
    edges = full[:, :1] + size * np.arange(count + 1) // count
    cut = np.stack([edges[:, :-1], edges[:, 1:]], axis=2).reshape(-1, 2)
    return np.concatenate([cut, incomplete])


def in_batches(rows: int, batch: int) -> np.ndarray:
    """Cut rows that need no parts into pieces of whole batches, (n, 2): enough for all cores, none too large."""
    size = whole_batches(min(BLOCK, max(SMALLEST, rows // FILES)), batch)
    first = np.arange(0, rows, size)
    return np.stack([first, np.minimum(first + size, rows)], axis=1)


@dataclass(frozen=True)
class Share:
    """A split's rows among the numbered rows of all splits, and the parts that hold some of them."""

    first: int
    end: int
    size: int  # rows in a part

    @property
    def parts(self) -> range:
        """The numbers of the parts."""
        return range(self.first // self.size, -(-self.end // self.size)) if self.end > self.first else range(0)

    def rows_of(self, part: int) -> tuple[int, int]:
        """Return the first row of this split in a part, and where they end."""
        return max(self.first, part * self.size), min(self.end, (part + 1) * self.size)
