"""List a split's images with their labels, whatever format they come in."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from lib.errors import ListingError
from lib.experiment.settings import Split
from lib.images.csv_listings import list_listing
from lib.images.formats import detect_format
from lib.images.parquet_images import list_parquet
from lib.images.schemas import LISTING
from lib.images.shards import list_shards
from lib.images.trees import list_tree


def list_images(split: Split, classes: list[str] | None = None, limit: int | None = None) -> pa.Table:
    """Return a split's images as LISTING rows in the order of their paths; with a `limit`, the first ones.

    `classes` are all class names in the order of their labels. Without them, a tree's folders are the classes. Raises
    ListingError if nothing is there, a file is damaged, an image_id is duplicated, or a label is no class.
    """
    try:
        kind = detect_format(split)
        rows = {"tree": list_tree, "listing": list_listing, "webdataset": list_shards, "parquet": list_parquet}[kind](
            split, classes
        )
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise ListingError(f"{split.location} can't be read: {error}") from error
    if not rows:
        raise ListingError(f"{split.location} ({kind}) has no images")
    columns = zip(zip(*rows, strict=True), LISTING, strict=True)
    table = pa.table([pa.array(column, field.type) for column, field in columns], schema=LISTING)
    _check_unique(split, table, kind == "parquet")
    smallest = pc.min(table["label"]).as_py()
    if smallest is not None and smallest < 0:
        raise ListingError(f"{split.location}: label {smallest}; labels count from 0, leave unknown ones empty")
    return table if limit is None else table.slice(0, limit)


def _check_unique(split: Split, table: pa.Table, in_parquet: bool) -> None:
    """Raise ListingError if two images have the same id."""
    counts = table.group_by("image_id").aggregate([("path", "count")])
    twice = counts.filter(pc.greater(counts["path_count"], 1))["image_id"].to_pylist()
    if twice:
        cure = '. Set id_column to a column of other ids, or to "#row", which numbers the rows' if in_parquet else ""
        raise ListingError(
            f"{split.location}: {len(twice)} image ids stand there more than once, such as {twice[:3]}{cure}"
        )
