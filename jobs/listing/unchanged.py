"""Whether a split's images are those of its finished table, found out without Ray where that is little work."""

from __future__ import annotations

import pyarrow.fs as pafs

from jobs.cluster.runs import Run
from jobs.listing.splits import describe, of_sources
from lib.images.listing import find_sources, list_source
from lib.images.set_classes import listed_classes
from lib.images.sources import Sources
from lib.images.summaries import Summary, summarise, together
from lib.images.tables import ListingTable
from lib.storage.manifests import differences
from lib.storage.uris import resolve

MOST = 50_000  # images in files of their own that the driver looks at


def images_unchanged(run: Run, split: str) -> bool:
    """Return whether a run would find the split's table finished. False also means that too much had to be looked at.

    Raises ListingError and StorageError if the images cannot be listed.
    """
    table = ListingTable.open(run.files.images(split))
    images = run.experiment.images
    if table is None or table.manifest["limit"] != run.experiment.limit:
        return False
    in_files = table.manifest["local_files"]
    if in_files and (table.rows > MOST or not is_local(images.split(split).location)):
        return False
    classes = listed_classes(images, split)
    found = find_sources(images.split(split), classes)
    if in_files:
        limit = run.experiment.limit
        seen = summary_of(found, limit)
        known = {"images": seen.images, "image_files": seen.files, "rows": min(seen.rows, limit or seen.rows)}
    else:
        known = table.made_of() | {"image_files": of_sources(found), "rows": table.rows}
    return differences(table.manifest["made_from"], describe(found, classes) | known) == []


def is_local(location: str) -> bool:
    """Return whether a location is on a disk, so that looking at a file costs no request."""
    return isinstance(resolve(location)[0], pafs.LocalFileSystem)


def summary_of(found: Sources, limit: int | None) -> Summary:
    """List sources in this process until there are as many images as the limit allows, as jobs.listing.splits does."""
    summaries: list[Summary] = []
    rows = 0
    for source in found.sources:
        if limit is not None and rows >= limit:
            break
        summaries.append(summarise(list_source(found, source)))
        rows += summaries[-1].rows
    return together(summaries)
