"""Arrays (n, d) as Arrow columns of fixed-size lists, and back, without a copy where Arrow allows it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def vector_column(vectors: np.ndarray, missing: np.ndarray | None = None) -> pa.FixedSizeListArray:
    """Return numbers (n, d) as fixed_size_list<number>[d]. Rows are null where `missing` (n,) is true."""
    mask = None if missing is None or not missing.any() else pa.array(missing)
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1], mask=mask)


def column_vectors(rows: pa.Table, name: str) -> np.ndarray:
    """Return a column of fixed-size lists without nulls as an array (n, d) of the column's own number type."""
    column = rows[name].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), column.type.list_size)
