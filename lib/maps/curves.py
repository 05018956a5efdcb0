"""The error curve of a fit by Adam: E of each training batch."""

from __future__ import annotations

import pyarrow as pa

from lib.storage.parquet import read_table

CURVE = pa.schema([("iteration", pa.int64()), ("error", pa.float32())])


def read_curve(uri: str) -> pa.Table:
    """The error curve of one fit, tables.CURVE."""
    return read_table(uri, CURVE)
