"""Vectors by id that were computed elsewhere: Parquet, .npy, or .safetensors, read in pieces.

Parquet has a column of ids and a column of lists of numbers. Beside NAME.npy lies NAME.txt with an id on each line, in
the order of the rows, as beside NAME.safetensors with one matrix. A .safetensors file of vectors alone has
their ids as names.
"""

from __future__ import annotations

import json
import math
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from lib.errors import TableError
from lib.storage.columns import vector_column
from lib.storage.files import file_version, files_below, for_all, is_file
from lib.storage.patterns import files_matching, folder_of, is_pattern
from lib.storage.uris import resolve, uri_beside

SUFFIXES = (".parquet", ".npy", ".safetensors")
PIECE_ROWS = 16_384  # rows of a matrix that are read at once
BLOCK = 2**20  # bytes of a file of ids that are read at once
NUMBERS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}  # safetensors' types as numpy's
ID, VECTOR = "image_id", "vector"


@dataclass(frozen=True)
class Piece:
    """Some rows of a file: a row group of Parquet, or rows of a matrix, or vectors by name."""

    file: str  # URI
    number: int  # of the row group, or the first row
    rows: int
    key: str  # Parquet's column of ids
    vector: str | None  # the column or tensor; None is the only one that there is
    ids: tuple[int, int] = (0, 0)  # where the ids of a matrix's rows begin and end in the file of ids beside it, bytes


def vector_files(location: str) -> list[str]:
    """Return the URIs of the files that a location names: one file, a pattern, or a folder. Raises TableError."""
    if is_pattern(location):
        found = [uri_beside(folder_of(location), path) for path in files_matching(location)]
    elif location.endswith(SUFFIXES):
        found = [uri_beside(location, resolve(location)[1])]  # absolute: Ray's workers have other working directories
    else:
        found = [uri_beside(location, path) for path in files_below(location)]
    found = [file for file in found if file.endswith(SUFFIXES)]
    if not found:
        raise TableError(f"{location}: there is no file there that ends with {', '.join(SUFFIXES)}")
    return found


def file_versions(files: Sequence[str]) -> list[list[str]]:
    """Return each file with its version, and the files of ids that lie beside matrices with theirs."""
    beside = [ids for file in files if not file.endswith(".parquet") and is_file(ids := _ids_file(file))]
    named = [*files, *beside]
    return [list(found) for found in zip(named, for_all(file_version, named), strict=True)]


def pieces_of(file: str, key: str, vector: str | None) -> list[Piece]:
    """Return a file's pieces, whose vectors are not read. Raises TableError if it cannot be read."""
    filesystem, path = _open(file)
    try:
        if file.endswith(".parquet"):
            footer = pq.read_metadata(path, filesystem=filesystem)
            counts = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
            return [Piece(file, number, rows, key, vector) for number, rows in enumerate(counts)]
        named = len(_named(filesystem, path)) if file.endswith(".safetensors") else 0
        rows = named or _matrix(filesystem, path, vector).rows
        starts = range(0, rows, PIECE_ROWS)
        ids = [(0, 0)] * len(starts) if named else _places_of_ids(file, rows)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise TableError(f"{file} can't be read: {error}") from error
    return [
        Piece(file, start, min(PIECE_ROWS, rows - start), key, vector, place)
        for start, place in zip(starts, ids, strict=True)
    ]


def read_piece(piece: Piece) -> pa.Table:
    """Return image_id and vector, fixed_size_list<float>[d], of a piece. Raises TableError.

    Vectors must be of one length and finite, and ids must be there.
    """
    filesystem, path = _open(piece.file)
    try:
        if piece.file.endswith(".parquet"):
            ids, vectors = _read_parquet(piece, filesystem, path)
        elif piece.file.endswith(".safetensors") and (names := _named(filesystem, path)):
            chosen = names[piece.number : piece.number + piece.rows]
            ids = pa.array([name for name, _ in chosen], pa.string())
            vectors = np.stack([_read(filesystem, path, tensor, 0, 1)[0] for _, tensor in chosen])
        else:
            matrix = _matrix(filesystem, path, piece.vector)
            vectors = _read(filesystem, path, matrix, piece.number, piece.rows)
            ids = _ids_beside(piece)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise TableError(f"{piece.file} can't be read: {error}") from error
    if ids.null_count:
        raise TableError(f"{piece.file}: {ids.null_count} rows have no id")
    vectors = vectors.astype(np.float32, copy=False)
    wrong = np.flatnonzero(~np.isfinite(vectors).all(1))
    if len(wrong):
        raise TableError(
            f"{piece.file}: {len(wrong)} vectors have NaN or infinity, such as that of {ids[int(wrong[0])]}"
        )
    return pa.table({ID: ids, VECTOR: vector_column(vectors)})


def vector_size(file: str, key: str, vector: str | None) -> int:
    """Return d, the length of a file's vectors, of which one is read at most. Raises TableError if it has none."""
    filesystem, path = _open(file)
    try:
        if file.endswith(".parquet"):
            size = _size_in_parquet(filesystem, path, key, vector)
        elif file.endswith(".safetensors") and (named := _named(filesystem, path)):
            size = named[0][1].size
        else:
            size = _matrix(filesystem, path, vector).size
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise TableError(f"{file} can't be read: {error}") from error
    if not size:
        raise TableError(f"{file} has no vectors")
    return size


def _open(file: str) -> tuple[pafs.FileSystem, str]:
    return resolve(file)


def _read_parquet(piece: Piece, filesystem: pafs.FileSystem, path: str) -> tuple[pa.Array, np.ndarray]:
    """Read one row group's ids and vectors (n, d)."""
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        name = _vectors_in(file.schema_arrow, piece.key, piece.vector)
        rows = file.read_row_group(piece.number, columns=[piece.key, name]).combine_chunks()
    column = rows[name].combine_chunks()
    if column.null_count:
        raise ValueError(f"{column.null_count} vectors are null")
    sizes = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(sizes) != 1:
        raise ValueError(f"vectors are of different lengths, such as {sizes[:3]}")
    numbers = column.flatten().to_numpy(zero_copy_only=False)
    return rows[piece.key].combine_chunks().cast(pa.string()), numbers.reshape(len(rows), sizes[0])


def _size_in_parquet(filesystem: pafs.FileSystem, path: str, key: str, vector: str | None) -> int:
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        name = _vectors_in(file.schema_arrow, key, vector)
        type_ = file.schema_arrow.field(name).type
        if pa.types.is_fixed_size_list(type_):
            return int(type_.list_size)
        first = next(file.iter_batches(batch_size=1, columns=[name]), None)
    return len(first[name][0].as_py() or []) if first is not None and len(first) else 0


def _vectors_in(schema: pa.Schema, key: str, vector: str | None) -> str:
    """Return the name of the column of vectors. Raises ValueError if it or the column of ids is not there."""
    if key not in schema.names:
        raise ValueError(f"no column {key!r}, which key names: it has {schema.names}")
    lists = [field.name for field in schema if _is_vector(field.type)]
    name = vector or (lists[0] if len(lists) == 1 else None)
    if name is None or name not in lists:
        raise ValueError(f"no column {name!r} of lists of numbers: vector must name one of {lists}")
    return name


def _is_vector(type_: pa.DataType) -> bool:
    listed = pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_)
    return listed and pa.types.is_floating(type_.value_type)


@dataclass(frozen=True)
class _Matrix:
    """Where the numbers of a matrix lie in a file."""

    start: int  # byte
    rows: int
    size: int  # d
    dtype: np.dtype[Any]


def _matrix(filesystem: pafs.FileSystem, path: str, name: str | None) -> _Matrix:
    """Return the matrix of a .npy file, or the one called `name` of a .safetensors file."""
    if path.endswith(".npy"):
        with filesystem.open_input_file(path) as file:
            stream: Any = file
            version = np.lib.format.read_magic(stream)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, by_columns, dtype = read[version](stream)
            start = file.tell()
        if len(shape) != 2 or (by_columns and min(shape) > 1) or dtype.kind != "f":
            raise ValueError(f"expected numbers (n, d) row by row, got {shape} of {dtype}")
        return _Matrix(start, *shape, dtype)
    tensors = _tensors(filesystem, path)
    matrices = {key: tensor for key, tensor in tensors.items() if len(tensor["shape"]) == 2}
    chosen = name or (next(iter(matrices)) if len(matrices) == 1 else None)
    if chosen not in matrices:
        raise ValueError(f"no matrix {chosen!r}: vector must name one of {list(matrices)[:6]}")
    return _placed(matrices[chosen])


def _named(filesystem: pafs.FileSystem, path: str) -> list[tuple[str, _Matrix]]:
    """Return the vectors of a .safetensors file by name, sorted; none if it holds a matrix."""
    tensors = _tensors(filesystem, path)
    if any(len(tensor["shape"]) != 1 for tensor in tensors.values()):
        return []
    if len({tuple(tensor["shape"]) for tensor in tensors.values()}) != 1:
        raise ValueError("its vectors are of different lengths")
    return [(name, _placed(tensors[name])) for name in sorted(tensors)]


def _tensors(filesystem: pafs.FileSystem, path: str) -> dict[str, dict[str, Any]]:
    """Return what a .safetensors file says of its tensors, with where each begins."""
    with filesystem.open_input_file(path) as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, dict[str, Any]] = json.loads(file.read(length))
    return {
        name: {**tensor, "start": 8 + length + tensor["data_offsets"][0]}
        for name, tensor in header.items()
        if name != "__metadata__"
    }


def _placed(tensor: dict[str, Any]) -> _Matrix:
    if tensor["dtype"] not in NUMBERS:
        raise ValueError(f"numbers are {tensor['dtype']}, allowed are {', '.join(NUMBERS)}")
    *rows, size = tensor["shape"]
    return _Matrix(tensor["start"], math.prod(rows), size, np.dtype(NUMBERS[tensor["dtype"]]))


def _read(filesystem: pafs.FileSystem, path: str, matrix: _Matrix, first: int, rows: int) -> np.ndarray:
    """Read some rows (rows, d) of a matrix, and nothing else of its file."""
    width = matrix.size * matrix.dtype.itemsize
    with filesystem.open_input_file(path) as file:
        data = file.read_at(rows * width, matrix.start + first * width)
    return np.frombuffer(data, matrix.dtype).reshape(rows, matrix.size)


def _ids_file(file: str) -> str:
    """Return the text file that has the ids of a matrix's rows."""
    return f"{posixpath.splitext(file)[0]}.txt"


def _places_of_ids(file: str, rows: int) -> list[tuple[int, int]]:
    """Return where the ids of each PIECE_ROWS rows of a matrix begin and end in the text file beside it, bytes.

    The file is read in blocks. Raises ValueError unless it has a line for each row.
    """
    ids_file = _ids_file(file)
    filesystem, path = _open(ids_file)
    edges, lines, place, last = [0], 0, 0, b""
    with filesystem.open_input_stream(path) as stream:
        while block := stream.read(BLOCK):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
            wanted = np.arange(PIECE_ROWS - lines % PIECE_ROWS, len(ends) + 1, PIECE_ROWS) - 1
            edges += (place + ends[wanted]).tolist()
            lines, place, last = lines + len(ends), place + len(block), block[-1:]
    if last not in (b"", b"\n"):
        lines += 1
    if edges[-1] != place:
        edges.append(place)
    if lines != rows:
        raise ValueError(f"{ids_file} has {lines} lines, but there are {rows} vectors")
    return list(pairwise(edges))


def _ids_beside(piece: Piece) -> pa.Array:
    """Read the ids of a piece of a matrix from the text file beside it."""
    filesystem, path = _open(_ids_file(piece.file))
    begin, end = piece.ids
    with filesystem.open_input_file(path) as stream:
        lines = stream.read_at(end - begin, begin).decode().split("\n")
    return pa.array([line.removesuffix("\r") for line in lines[: piece.rows]], pa.string())
