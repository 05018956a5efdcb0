"""What a split's images lie in, in pieces that can be listed apart: class folders, shards, files, slices of a listing.

A split is listed in two steps. Finding its sources looks at folders, file names and footers, so that it costs little.
Listing one source may read it from end to end; many processes do that side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from lib.experiment.settings import Split
from lib.images.formats import Format
from lib.images.schemas import LISTING
from lib.storage.versions import Versioned


@dataclass(frozen=True)
class Source:
    """Something that is listed as a whole: a class folder, a shard, a Parquet file, a slice of a listing."""

    file: Versioned  # of a folder, size and version are None
    first: int = 0  # of a slice: its first byte (CSV) or row group (Parquet)
    end: int = 0  # of a slice: where the next one begins
    row: int = 0  # of a slice of a Parquet listing: the number of its first row
    index: str | None = None  # of a shard: the URI of an index beside it, if there is one


@dataclass(frozen=True)
class Sources:
    """A split's sources in the order of their images."""

    split: Split
    kind: Format
    root: str  # in the split's file system: the folder to which ids are relative
    classes: tuple[str, ...] | None  # all class names in the order of their labels, a tree's folders if none are given
    sources: tuple[Source, ...]
    alone: bool = False  # whether the one source is a whole listing
    folder_labels: Mapping[str, int] | None = None  # of a tree: the label of each class folder that has one

    @property
    def keeps_order(self) -> bool:
        """Whether neighbours are read together, so that the images keep the order in which they lie."""
        return self.kind in ("webdataset", "parquet", "table")

    @property
    def numbered(self) -> int:
        """How many of a tree's class folders are numbers, which are their places; 0 if they have names."""
        return sum(map(str.isdecimal, self.folder_labels or ()))

    @property
    def labels(self) -> dict[str, int]:
        """The label of each class name."""
        return {name: index for index, name in enumerate(self.classes or ())}


@dataclass(frozen=True)
class PassedOver:
    """Files of a tree that are not listed."""

    no_image: int = 0  # by their names
    no_folder: int = 0  # images that lie in no class folder
    example: str = ""

    def __add__(self, other: PassedOver) -> PassedOver:
        return PassedOver(
            self.no_image + other.no_image, self.no_folder + other.no_folder, other.example or self.example
        )


@dataclass(frozen=True)
class Listed:
    """The images of a source, and what was not listed there."""

    images: pa.Table  # LISTING
    passed_over: PassedOver = field(default_factory=PassedOver)


def images_table(rows: int, **columns: object) -> pa.Table:
    """Return LISTING rows. A column is an array, one value for all rows, or null if it is not given."""
    arrays = []
    for name, type_ in zip(LISTING.names, LISTING.types, strict=True):
        value = columns.get(name)
        if isinstance(value, pa.ChunkedArray):
            value = value.combine_chunks()
        if not isinstance(value, pa.Array):
            value = pa.array(value, type_) if isinstance(value, list) else pa.repeat(pa.scalar(value, type_), rows)
        arrays.append(value.cast(type_))
    return pa.table(arrays, schema=LISTING)
