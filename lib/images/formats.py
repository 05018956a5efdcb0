"""Detect the format of a split's images."""

from __future__ import annotations

from typing import Literal

import pyarrow.parquet as pq

from lib.errors import ListingError
from lib.experiment.settings import Split
from lib.images.tables import ListingTable
from lib.storage.files import files_below, is_file, is_folder
from lib.storage.patterns import files_matching, is_pattern
from lib.storage.uris import resolve

Format = Literal["tree", "listing", "webdataset", "parquet", "table"]


def detect_format(split: Split) -> Format:
    """Return the split's format: what the experiment says, else what is at the location. Raises ListingError."""
    if split.format != "auto":
        return split.format
    location = split.location
    if is_pattern(location):
        return _format_of_pattern(location)
    if is_file(location):
        if location.lower().endswith(".csv"):
            return "listing"
        if location.lower().endswith(".tar"):
            return "webdataset"
        if location.lower().endswith(".parquet"):
            filesystem, path = resolve(location)
            names = pq.read_schema(path, filesystem=filesystem).names
            return "listing" if "path" in names and split.image_column not in names else "parquet"
    elif is_folder(location):
        if files_below(location, ".tar"):
            return "webdataset"
        if files_below(location, ".parquet"):
            return "table" if ListingTable.open(location) is not None else "parquet"
        return "tree"
    else:
        raise ListingError(f"{location} is not there, or you may not read it")
    raise ListingError(
        f"{location}: expected a folder of class folders, .tar shards or .parquet files, or a .csv or .parquet file"
    )


def _format_of_pattern(location: str) -> Format:
    """Return the format of the files that a pattern names."""
    named = files_matching(location)
    if any(path.endswith(".tar") for path in named):
        return "webdataset"
    if any(path.endswith(".parquet") for path in named):
        return "parquet"
    raise ListingError(
        f"{location}: expected a pattern of .tar or .parquet files, which names {len(named)} other files"
    )
