"""Images that another run has listed: its table of them, in the order that it has."""

from __future__ import annotations

import pyarrow.parquet as pq

from lib.experiment.settings import Split
from lib.images.schemas import LISTING
from lib.images.sources import Listed, Source, Sources
from lib.images.tables import ListingTable
from lib.storage.uris import resolve
from lib.storage.walking import walk_files


def table_sources(split: Split, classes: list[str] | None) -> Sources:
    """Return the parts of a finished listing. Its class names are taken unless others are given.

    Raises TableError if the listing is not finished.
    """
    known = classes or ListingTable.load(split.location).classes
    parts = [file for file in walk_files(split.location, recursive=False) if file.path.endswith(".parquet")]
    root = resolve(split.location)[1].rstrip("/")
    return Sources(split, "table", root, None if known is None else tuple(known), tuple(map(Source, parts)))


def list_part(found: Sources, source: Source) -> Listed:
    """Return the images of one part, with the sizes and versions that their files had when they were listed."""
    filesystem = resolve(found.split.location)[0]
    with pq.ParquetFile(source.file.path, filesystem=filesystem, page_checksum_verification=True) as part:
        return Listed(part.read(columns=LISTING.names).select(LISTING.names))
