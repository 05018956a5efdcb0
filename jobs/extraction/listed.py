"""The images of several splits as one row of numbered images, read by ranges of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from lib.images.tables import ListingTable


class NumberedImages(Protocol):
    """Images that have numbers from 0 on."""

    def read(self, first: int, end: int) -> pa.Table:
        """Return LISTING rows, with columns that are passed on."""
        ...


@dataclass(frozen=True)
class ListedSplits:
    """Listing tables, whose rows are numbered through all of them in the order of `tables`."""

    tables: Mapping[str, ListingTable]

    def start(self, split: str) -> int:
        """Return the number of a split's first image."""
        names = list(self.tables)
        return sum(self.tables[name].rows for name in names[: names.index(split)])

    @property
    def rows(self) -> int:
        """The number of all images."""
        return sum(table.rows for table in self.tables.values())

    def read(self, first: int, end: int) -> pa.Table:
        """Return LISTING rows, with the columns `split` and `row`, which is the image's number."""
        found = []
        for split, table in self.tables.items():
            start = self.start(split)
            low, high = max(first, start), min(end, start + table.rows)
            if low < high:
                rows = table.read(low - start, high - start)
                rows = rows.append_column("row", pa.array(np.arange(low, high)))
                found.append(rows.append_column("split", pa.repeat(split, high - low)))
        return pa.concat_tables(found)


@dataclass(frozen=True)
class ImagesInMemory:
    """Images that one process has listed."""

    images: pa.Table  # LISTING

    def read(self, first: int, end: int) -> pa.Table:
        """Return LISTING rows."""
        return self.images.slice(first, end - first)


def ranges_table(pieces: np.ndarray) -> pa.Table:
    """Return ranges (n, 2) as a table that says what to read."""
    return pa.table({"first": pieces[:, 0], "end": pieces[:, 1]})
