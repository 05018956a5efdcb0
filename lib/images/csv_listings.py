"""Images named by a listing: a CSV or Parquet file with the columns path and label."""

from __future__ import annotations

import os
import posixpath

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from lib.errors import BadURI, ListingError
from lib.experiment.settings import Split
from lib.images.columns import NUMBER, STRING, check_columns
from lib.images.labels import parse_label
from lib.images.schemas import Row
from lib.storage.files import read_bytes
from lib.storage.uris import join_uri, refuse_credentials, resolve


def list_listing(split: Split, classes: list[str] | None) -> list[Row]:
    """List the images that a CSV or Parquet listing names."""
    filesystem, path = resolve(split.location)
    if path.lower().endswith(".parquet"):
        table = pq.read_table(path, filesystem=filesystem)
    else:
        text = pyarrow.csv.ConvertOptions(column_types={"path": pa.string(), split.label_column: pa.string()})
        table = pyarrow.csv.read_csv(pa.BufferReader(read_bytes(split.location)), convert_options=text)
    if "path" not in table.column_names:
        raise ListingError(f"{split.location}: expected the columns path and label, found {table.column_names}")
    if "label_column" in split.model_fields_set and split.label_column not in table.column_names:
        raise ListingError(
            f"{split.location}: no column {split.label_column!r}, which label_column names, found {table.column_names}"
        )
    check_columns(split.location, table.schema, {"path": (STRING,), split.label_column: (STRING, NUMBER)})
    base = split.base or split.location.rpartition("/")[0] or "."
    labels = table[split.label_column] if split.label_column in table.column_names else pa.nulls(len(table))
    place = {name: index for index, name in enumerate(classes or [])}
    rows: list[Row] = []
    for image, label in zip(table["path"].to_pylist(), labels.to_pylist(), strict=True):
        if not image:
            raise ListingError(f"{split.location}: row {len(rows) + 1} has no path")
        rows.append(
            (
                image,
                parse_label(f"{split.location}: row {len(rows) + 1}", label, place),
                _located(base, image),
                None,
                None,
                None,
            )
        )
    return rows


def _located(base: str, image: str) -> str:
    """Return where an image of a listing is. Raises ListingError if its URI holds credentials."""
    if "://" in image:
        try:
            refuse_credentials(image)  # it would stand in the tables as image_id
        except BadURI as error:
            raise ListingError(f"column path: {error}") from error
        return image
    if image.startswith("/"):
        return image
    joined = join_uri(base, image)
    return joined if "://" in joined else posixpath.normpath(os.path.abspath(joined))
