"""The schema of a listing, one row an image."""

from __future__ import annotations

import pyarrow as pa

# One row an image. `path` is a whole file where `start` is null; a tar shard, from which bytes start..start+length are
# the image; or a Parquet file, where `column` has it in row number `start`. `size` (bytes) and `version` are those of
# the file at `path` when it was listed; null where nobody asked.
LISTING = pa.schema(
    [
        ("image_id", pa.string()),
        ("label", pa.int32()),
        ("path", pa.string()),
        ("start", pa.int64()),
        ("length", pa.int64()),
        ("column", pa.string()),
        ("size", pa.int64()),
        ("version", pa.string()),
    ]
)
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
