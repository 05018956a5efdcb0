"""List a split's images with their labels, whatever format they come in."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add

import pyarrow as pa
import pyarrow.compute as pc

from lib.errors import ListingError
from lib.experiment.settings import Split
from lib.images.csv_listings import list_slice, listing_sources
from lib.images.formats import Format, detect_format
from lib.images.parquet_images import list_file, parquet_sources
from lib.images.schemas import LISTING
from lib.images.shards import list_shard, shard_sources
from lib.images.sources import Listed, PassedOver, Source, Sources
from lib.images.table_sources import list_part, table_sources
from lib.images.trees import judge_passed_over, list_folder, tree_sources

FIND: dict[Format, Callable[[Split, list[str] | None], Sources]] = {
    "tree": tree_sources,
    "listing": listing_sources,
    "webdataset": shard_sources,
    "parquet": parquet_sources,
    "table": table_sources,
}
LIST: dict[Format, Callable[[Sources, Source], Listed]] = {
    "tree": list_folder,
    "listing": list_slice,
    "webdataset": list_shard,
    "parquet": list_file,
    "table": list_part,
}


def find_sources(split: Split, classes: list[str] | None = None) -> Sources:
    """Return what a split's images lie in. Raises ListingError if nothing is there, or if it cannot be read.

    `classes` are all class names in the order of their labels. Without them, a tree's folders are the classes.
    """
    try:
        return FIND[detect_format(split)](split, classes)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise ListingError(f"{split.location} can't be read: {error}") from error


def list_source(found: Sources, source: Source) -> Listed:
    """Return the images of one source. Raises ListingError if a file is damaged or a label is no class."""
    try:
        listed = LIST[found.kind](found, source)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise ListingError(f"{found.split.location} can't be read: {error}") from error
    smallest = pc.min(listed.images["label"]).as_py()
    if smallest is not None and smallest < 0:
        raise ListingError(f"{found.split.location}: label {smallest}; labels count from 0, leave unknown ones empty")
    return listed


def list_images(split: Split, classes: list[str] | None = None, limit: int | None = None) -> pa.Table:
    """Return a split's images as LISTING rows in the order of their paths; with a `limit`, the first ones.

    This holds all of them in one process; jobs.listing lists them side by side. Raises ListingError if nothing is
    there, a file is damaged, an image_id is duplicated, or a label is no class.
    """
    found = find_sources(split, classes)
    listed = [list_source(found, source) for source in found.sources]
    table = pa.concat_tables([LISTING.empty_table(), *(one.images for one in listed)]).combine_chunks()
    judge_listed(found, len(table), reduce(add, (one.passed_over for one in listed), PassedOver()))
    raise_for_doubles(found, *doubles(table))
    return table if limit is None else table.slice(0, limit)


def judge_listed(found: Sources, rows: int, passed_over: PassedOver) -> None:
    """Warn of what was not listed. Raises ListingError if nothing was."""
    if found.kind == "tree":
        judge_passed_over(found.split.location, rows, passed_over)
    if not rows:
        raise ListingError(f"{found.split.location} ({found.kind}) has no images")


def doubles(images: pa.Table) -> tuple[int, list[tuple[str, list[str]]]]:
    """Return how many ids stand more than once in a table with image_id and path, and some of them with their paths."""
    counts = images.group_by("image_id", use_threads=False).aggregate([("path", "count")])
    twice = counts.filter(pc.greater(counts["path_count"], 1))["image_id"]
    few = twice[:3].to_pylist()
    where = [images.filter(pc.equal(images["image_id"], name))["path"].to_pylist() for name in few]
    return len(twice), list(zip(few, where, strict=True))


def raise_for_doubles(found: Sources, count: int, few: list[tuple[str, list[str]]]) -> None:
    """Raise ListingError if ids stand more than once, of which `few` are some with the files that they stand in."""
    if not count:
        return
    location = found.split.location
    if found.kind == "webdataset":
        key, (first, second, *_) = few[0]
        raise ListingError(f"{location}: sample {key!r} stands in {first} and in {second}")
    in_parquet = found.kind == "parquet"
    cure = '. Set id_column to a column of other ids, or to "#row", which numbers the rows' if in_parquet else ""
    names = [name for name, _ in few]
    raise ListingError(f"{location}: {count} image ids stand there more than once, such as {names}{cure}")
