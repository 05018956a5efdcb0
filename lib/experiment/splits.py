"""Where the labelled images of one split are, as an experiment file says it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from lib.experiment.sections import Section


class Split(Section):
    """Where the labelled images of one split are. In the file, a plain string stands for `location` alone."""

    location: str
    """A path or URI: an ImageNet tree, a .csv or .parquet listing, a folder of .tar shards, Parquet with images, or the
    images/<split> that another run has listed."""
    format: Literal["auto", "tree", "listing", "webdataset", "parquet", "table"] = "auto"
    """What is at the location. "auto" looks."""
    base: str | None = None
    """The folder to which a listing's paths are relative. None is the listing's own folder."""
    image_column: str = "image"
    """The column with the images' bytes, in Parquet with images."""
    id_column: str | None = None
    """The column with the images' ids, in Parquet with images; "#row" numbers the rows. None: image_id or key if there
    is such a column, else the images' own paths, else row numbers."""
    label_column: str = "label"
    """The column with the labels, in listings and in Parquet with images."""

    write_indexes: bool = False
    """Write `<shard>.index.parquet` beside each .tar shard, so that no experiment reads the shard again to list it."""

    @model_validator(mode="before")
    @classmethod
    def from_string(cls, value: Any) -> Any:
        """Take a plain string for the location."""
        return {"location": value} if isinstance(value, str) else value
