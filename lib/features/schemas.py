"""Schemas of the feature tables and of the tables of rejected images."""

from __future__ import annotations

import pyarrow as pa

IMAGES = pa.schema([("image_id", pa.string()), ("label", pa.int32())])
REJECTS = pa.schema([("image_id", pa.string()), ("reason", pa.string())])


def feature_schema(sizes: dict[str, int], dtype: str) -> pa.Schema:
    """Return the schema of a feature table; `sizes` maps network name to d, `dtype` is "float32" or "float16"."""
    number = pa.float16() if dtype == "float16" else pa.float32()
    columns = [pa.field(name, pa.list_(number, d)) for name, d in sizes.items()]
    return pa.schema([pa.field("image_id", pa.string()), pa.field("label", pa.int32()), *columns])
