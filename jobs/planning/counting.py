"""How many images a split has, by little work: a dry run does not read shards, and does not list a billion images."""

from __future__ import annotations

from dataclasses import dataclass

from lib.experiment.splits import Split
from lib.images.listing import find_sources, list_source

FOLDERS, FILES = 2_000, 2  # of a split that are looked at, at most: a folder is a request, a shard may be some GB


@dataclass(frozen=True)
class Count:
    """A number of images."""

    images: int
    exact: bool = True

    def __str__(self) -> str:
        return f"{self.images:,}" if self.exact else f"about {self.images:,}"


def count_images(split: Split, classes: list[str] | None = None, limit: int | None = None) -> Count:
    """Count a split's images. Of many sources, some are looked at, and the others are taken to hold as many each.

    Raises ListingError if nothing is there, or if it cannot be read.
    """
    found = find_sources(split, classes)
    most = FOLDERS if found.kind == "tree" else FILES
    if len(found.sources) <= 2 * most:
        most = len(found.sources)
    rows = looked_at = 0
    for source in found.sources[:most]:
        if limit is not None and rows >= limit:
            return Count(limit)
        rows += len(list_source(found, source).images)
        looked_at += 1
    images = rows * len(found.sources) // max(looked_at, 1)
    return Count(images if limit is None else min(images, limit), looked_at == len(found.sources))
