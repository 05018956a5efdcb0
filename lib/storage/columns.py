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


def without_nulls(table: pa.Table) -> pa.Table:
    """Return the table with those columns of vectors that have no null marked so that they can have none, uncopied.

    Parquet's readers then need not look for each number whether it is there, which is a fifth of their time
    (lib/benchmarks/README.md).
    """
    return _marked(table, [name for name in _vectors_of(table) if not _has_nulls(table[name])], nullable=False)


def with_nulls(table: pa.Table) -> pa.Table:
    """Return the table with columns of vectors that could have nulls, uncopied, as they are in memory.

    Arrow joins no two tables of which only one is marked, and files of an earlier version are not.
    """
    return _marked(table, _vectors_of(table), nullable=True)


def is_vectors(type_: pa.DataType) -> bool:
    """Return whether a column of this type has vectors of features."""
    return pa.types.is_fixed_size_list(type_) and type_.value_type in (pa.float32(), pa.float16())


def _vectors_of(table: pa.Table) -> list[str]:
    return [field.name for field in table.schema if is_vectors(field.type)]


def _has_nulls(column: pa.ChunkedArray) -> bool:
    return bool(column.null_count) or any(chunk.flatten().null_count for chunk in column.chunks)


def _marked(table: pa.Table, names: list[str], nullable: bool) -> pa.Table:
    for name in names:
        place, column = table.schema.get_field_index(name), table[name]
        type_ = pa.list_(pa.field("item", column.type.value_type, nullable), column.type.list_size)
        chunks = [pa.FixedSizeListArray.from_arrays(chunk.flatten(), type=type_) for chunk in column.chunks]
        table = table.set_column(place, pa.field(name, type_, nullable), pa.chunked_array(chunks, type_))
    return table
