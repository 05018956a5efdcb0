"""The error curve of a fit by Adam: E of each training batch."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lib.storage.parquet import read_table, write_table

CURVE = pa.schema([("iteration", pa.int64()), ("error", pa.float32())])


def write_curve(uri: str, errors: np.ndarray) -> None:
    """Write E of each batch, (iterations,), as a CURVE table. Iterations count from 1."""
    columns = [pa.array(range(1, len(errors) + 1), pa.int64()), pa.array(errors, pa.float32())]
    write_table(uri, pa.table(columns, schema=CURVE))


def read_curve(uri: str) -> pa.Table:
    """Read the CURVE table of one fit. Raises StorageError if there is none."""
    return read_table(uri, CURVE)
