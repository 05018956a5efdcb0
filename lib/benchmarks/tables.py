"""How small feature tables are, and how fast they are written and read, beside the raw numbers, one thread of pyarrow,
and zstd alone.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.benchmarks.timing import Timing, by_turns, one_after_another
from lib.features.reading import Features, read_features
from lib.features.schemas import feature_schema
from lib.features.tables import FeatureTables
from lib.storage.columns import vector_column, without_nulls
from lib.storage.manifests import Artifact
from lib.storage.parquet import how_written, write_table

PART = 1024  # rows of a file, extract.rows_per_file
DTYPES = ("float32", "float16")
PLANES = {"made.list.element": "BYTE_STREAM_SPLIT"}
PLAIN = {"compression": "none", "compression_level": None}


def time_tables(repeats: int, rows: int = 16 * PART, size: int = 1536) -> list[Timing]:
    """Return seven rows for each type of number, and two that compare encodings.

    It takes some 30 s for 100 MB with five repeats.
    """
    found = []
    for dtype in DTYPES:
        vectors = half_zero(rows, size, dtype)
        with TemporaryDirectory() as folder:
            write_made_up(folder, vectors)
            found += [time_stored(folder, vectors), *time_reading(folder, vectors, repeats)]
        found += time_codec(vectors[: 4 * PART], repeats)
    found += [planes_beside_plain(vectors, name) for name, vectors in kinds_of_features(4 * PART, size).items()]
    return found


def half_zero(rows: int, size: int, dtype: str) -> np.ndarray:
    """Return made-up features (rows, size) after a ReLU, as most networks' features are."""
    return np.maximum(np.random.default_rng(0).standard_normal((rows, size), np.float32), 0).astype(dtype)


def write_made_up(folder: str, vectors: np.ndarray) -> None:
    """Write a finished feature table as extraction writes them: rows in random order, in parts."""
    path = Path(folder) / "made"
    order = np.random.default_rng(0).permutation(len(vectors))
    schema = feature_schema({"made": vectors.shape[1]}, str(vectors.dtype))
    for start in range(0, len(order), PART):
        rows = order[start : start + PART]
        columns = [[f"{row:09d}" for row in rows], pa.array(rows, pa.int32()), vector_column(vectors[rows])]
        write_table(str(path / f"{start:09d}.parquet"), pa.table(columns, schema=schema))
    made_from: dict[str, Any] = {"networks": {"made": {}}}
    Artifact(str(path / "manifest.json"), (str(path),), made_from).finish(len(vectors))


def time_stored(folder: str, vectors: np.ndarray) -> Timing:
    """Compare a table's size with that of the raw numbers."""
    size = sum(file.stat().st_size for file in Path(folder).rglob("*.parquet"))
    return Timing(
        f"feature table, {vectors.dtype}", "numbers/byte", "the raw numbers",
        (vectors.size / size,), (1 / vectors.itemsize,), goal=1.0,
        note=f"{size / vectors.nbytes:.2f} of the raw numbers' bytes, half of them zero; ids and labels included",
    )  # fmt: skip


def time_reading(folder: str, vectors: np.ndarray, repeats: int) -> list[Timing]:
    """Time reading into one array by image_id, beside pyarrow's reading of the column into memory of its own."""
    files = sorted(str(file) for file in Path(folder).rglob("*.parquet"))
    cores = os.cpu_count() or 1

    def project() -> Features:
        return read_features(FeatureTables.open(folder), ["made"], str(vectors.dtype))

    def column(file: str) -> pa.Table:
        return pq.read_table(file, columns=["made"], use_threads=False)

    def on_all_cores() -> None:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(column, files))

    if not np.array_equal(project().vectors["made"], vectors):
        raise ValueError("what was read isn't what was written")
    gigabytes = vectors.nbytes / 1e9
    what = f"read features, {vectors.dtype}"
    one_thread = by_turns(project, lambda: [column(file) for file in files], gigabytes, repeats)
    all_threads = by_turns(project, on_all_cores, gigabytes, repeats)
    note = f"{cores} cores: the goal is theirs where no other process computes on them"
    return [
        Timing(what, "GB/s", "one thread of pyarrow", *one_thread, goal=0.9 * cores, note=note),
        Timing(what, "GB/s", f"{cores} threads of pyarrow", *all_threads, goal=0.9),
    ]


def time_codec(vectors: np.ndarray, repeats: int) -> list[Timing]:
    """Time one file's way to bytes and back, in one thread, beside zstd's for the same numbers.

    Then beside zstd's and, after it, that of a file without compression: no file of both can be much faster.
    """
    table = pa.table({"made": vector_column(vectors)})
    codec, raw, gigabytes = pa.Codec("zstd", 1), pa.py_buffer(vectors), vectors.nbytes / 1e9
    written, packed, plain = table_bytes(table), codec.compress(raw), table_bytes(table, **PLAIN)
    ways = {
        "write": (lambda: table_bytes(table), lambda: codec.compress(raw), lambda: table_bytes(table, **PLAIN)),
        "read": (lambda: read_bytes(written), lambda: codec.decompress(packed, raw.size), lambda: read_bytes(plain)),
    }
    found = list[Timing]()
    for what, (project, zstd, parquet) in ways.items():
        references = {"zstd alone": zstd, "zstd, then Parquet without it": one_after_another(zstd, parquet)}
        for reference_is, reference in references.items():
            rates = by_turns(project, reference, gigabytes, repeats)
            named = f"{what} a table's bytes, {vectors.dtype}", "GB/s a core", reference_is
            found.append(Timing(*named, *rates, goal=0.9))
    return found


def table_bytes(table: pa.Table, **changed: Any) -> pa.Buffer:
    """Return a table as the bytes of a Parquet file as lib.storage.parquet writes it, but for `changed` arguments."""
    sink, table = pa.BufferOutputStream(), without_nulls(table)
    with pq.ParquetWriter(sink, table.schema, **how_written(table.schema) | changed) as writer:
        writer.write_table(table)
    return sink.getvalue()


def read_bytes(file: pa.Buffer) -> pa.Table:
    """Read a Parquet file's bytes in one thread."""
    return pq.read_table(pa.BufferReader(file), use_threads=False, page_checksum_verification=True)


def kinds_of_features(rows: int, size: int) -> dict[str, np.ndarray]:
    """Return features of float32 as networks have them: half of them zero, or none."""
    dense = np.random.default_rng(0).standard_normal((rows, size), np.float32)
    return {"half zero": half_zero(rows, size, "float32"), "none zero": dense / (1 + np.exp(-dense))}


def planes_beside_plain(vectors: np.ndarray, name: str) -> Timing:
    """Compare the sizes of tables of the same numbers: planes of bytes beside the numbers as they are.

    bfloat16 stands in the note: Parquet has no such type, so that readers would see bytes in place of numbers.
    """
    sizes: dict[str, tuple[int, int]] = {}
    halves = (vectors.view(np.uint32) >> 16).astype(np.uint16)
    columns = {dtype: vector_column(vectors.astype(dtype)) for dtype in DTYPES}
    two_bytes = pa.FixedSizeBinaryArray.from_buffers(pa.binary(2), halves.size, [None, pa.py_buffer(halves)])
    columns["bfloat16"] = pa.FixedSizeListArray.from_arrays(two_bytes, vectors.shape[1])
    for dtype, column in columns.items():
        table = pa.table({"made": column})
        sizes[dtype] = (len(table_bytes(table, column_encoding=PLANES)), len(table_bytes(table, column_encoding={})))
    said = (
        f"{dtype} {planes / vectors.size:.2f} beside {plain / vectors.size:.2f}"
        for dtype, (planes, plain) in sizes.items()
    )
    planes, plain = sizes["float32"]
    return Timing(
        f"planes of bytes, {name}", "numbers/byte", "the numbers as they are", (vectors.size / planes,),
        (vectors.size / plain,), goal=1.0, note=f"bytes a number: {', '.join(said)}",
    )  # fmt: skip
