"""The error curve of a fit by Adam: E of each training batch."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lib.storage.parquet import read_table, write_table
from lib.storage.records import FileRecord

CURVE = pa.schema([("iteration", pa.int64()), ("error", pa.float32())])


def write_curve(uri: str, errors: np.ndarray) -> FileRecord:
    """Write E of each batch, (iterations,), as a CURVE table, and return its record. Iterations count from 1."""
    columns = [pa.array(range(1, len(errors) + 1), pa.int64()), pa.array(errors, pa.float32())]
    return FileRecord.of(write_table(uri, pa.table(columns, schema=CURVE)))


def read_curve(uri: str, record: FileRecord | None = None) -> pa.Table:
    """Read the CURVE table of one fit. Raises StorageError if there is none, and DamagedFile."""
    return read_table(uri, CURVE, record)
