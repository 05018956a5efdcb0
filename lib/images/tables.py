"""Tables of listed images: Parquet parts that are read by the numbers of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.errors import TableError
from lib.experiment.layout import manifest_in, part_in
from lib.images.schemas import LISTING
from lib.storage.files import is_file
from lib.storage.manifests import read_manifest
from lib.storage.parquet import write_table
from lib.storage.uris import resolve

PART, GROUP = 2**16, 2**12  # rows in a part and in a row group, at most


@dataclass(frozen=True)
class ListingTable:
    """A finished table of a split's images. It holds how many rows each part has, and no image."""

    folder: str  # URI
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: str) -> ListingTable | None:
        """Read the manifest of the table in `folder`. Return None if the table is not finished, or no such table."""
        if not is_file(manifest_in(folder)):
            return None
        manifest = read_manifest(manifest_in(folder))
        return cls(folder, manifest) if manifest is not None and "part_rows" in manifest else None

    @classmethod
    def load(cls, folder: str) -> ListingTable:
        """Return the finished table in `folder`. Raises TableError if there is none."""
        table = cls.open(folder)
        if table is None:
            raise TableError(f"no finished listing in {folder}: run `python -m jobs.extract` first")
        return table

    @cached_property
    def starts(self) -> np.ndarray:
        """The number of each part's first row, and of all rows, (parts + 1,)."""
        return np.cumsum([0, *self.manifest["part_rows"]])

    @property
    def rows(self) -> int:
        """n, the number of images."""
        return int(self.manifest["rows"])

    @property
    def labelled(self) -> int:
        """The number of images with a label."""
        return int(self.manifest["labelled"])

    @property
    def largest_label(self) -> int | None:
        """The largest label, None if no image has one."""
        largest: int | None = self.manifest["largest_label"]
        return largest

    @property
    def classes(self) -> list[str] | None:
        """The classes' names in the order of their labels; None if they are unknown."""
        classes: list[str] | None = self.manifest["classes"]
        return classes

    @property
    def folder_labels(self) -> list[int] | None:
        """The labels of a tree's class folders; None if the images lie in no tree, or if an earlier version listed
        them.
        """
        labels: list[int] | None = self.manifest.get("folder_labels")
        return labels

    def made_of(self) -> dict[str, str]:
        """Return digests of the images' ids and labels, and of the files that they lie in."""
        return {"images": self.manifest["images"], "image_files": self.manifest["image_files"]}

    def read(self, first: int, end: int, columns: Sequence[str] = tuple(LISTING.names)) -> pa.Table:
        """Return some columns of the rows `first` to `end`, which may lie in several parts."""
        found = [LISTING.empty_table().select(columns)]
        part = int(np.searchsorted(self.starts, first, side="right")) - 1
        while part < len(self.starts) - 1 and self.starts[part] < end:
            start, count = int(self.starts[part]), int(self.starts[part + 1] - self.starts[part])
            low, high = max(first - start, 0), min(end - start, count)
            for group in range(low // GROUP, -(-high // GROUP)):
                rows = _group(part_in(self.folder, part), self.manifest["images"], group, tuple(columns))
                found.append(rows.slice(max(low - group * GROUP, 0), high - max(low, group * GROUP)))
            part += 1
        return pa.concat_tables(found)


@lru_cache(maxsize=2)  # successive pieces come from the same row group
def _group(uri: str, version: str, group: int, columns: tuple[str, ...]) -> pa.Table:
    """Return one row group. `version` is any text that tells the part from another one of its name."""
    filesystem, path = resolve(uri)
    with pq.ParquetFile(path, filesystem=filesystem, page_checksum_verification=True) as file:
        return file.read_row_group(group, columns=list(columns), use_threads=False).select(columns)


def write_parts(folder: str, first: int, images: pa.Table) -> list[int]:
    """Write images as parts with the numbers `first`, first + 1, ..., and return how many rows each has."""
    pieces = [images.slice(start, PART) for start in range(0, len(images), PART)]
    for number, piece in enumerate(pieces, first):
        write_table(part_in(folder, number), piece, GROUP)
    return [len(piece) for piece in pieces]


def parts_for(rows: int) -> int:
    """Return how many parts so many rows take."""
    return -(-rows // PART)
