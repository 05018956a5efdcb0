"""Read feature vectors of several networks into memory, matched by image_id."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from lib.errors import TableError
from lib.features.schemas import IMAGES
from lib.features.tables import find_pass
from lib.storage.parquet import parquet_files

FITTING = 128  # rows whose vectors fit into a core's cache: there they are unpacked and put into place


@dataclass(frozen=True)
class Features:
    """Feature vectors of some networks for the same images, sorted by image_id."""

    image_id: np.ndarray  # (n,) str
    label: np.ndarray  # (n,) int32, -1 where unknown
    vectors: dict[str, np.ndarray]  # (n, d) each


def read_features(features: str, networks: list[str], dtype: str = "float32") -> Features:
    """The columns of `networks`, from one pass or several, matched by image_id; nothing is read twice.

    Raises TableError where an id is missing in one of the passes or stands in one twice.
    """
    passes: dict[str, list[str]] = {}
    for network in networks:
        passes.setdefault(find_pass(features, network), []).append(network)
    ids, label = np.empty(0, object), np.empty(0, np.int32)
    vectors: dict[str, np.ndarray] = {}
    for folder, columns in passes.items():
        groups = _row_groups(folder)
        table = pa.concat_tables(_on_all_cores(partial(_read_group, columns=IMAGES.names), groups))
        order = pc.sort_indices(table["image_id"])
        found = table["image_id"].take(order).to_numpy()
        if not vectors:
            ids, label = found, table["label"].fill_null(-1).take(order).to_numpy()
            if (ids[1:] == ids[:-1]).any():
                raise TableError(f"{folder}: an image_id stands there twice")
        elif not np.array_equal(ids, found):
            raise TableError(f"{folder}: its image_ids aren't those of {networks[0]!r}")
        vectors |= _read_vectors(groups, columns, np.argsort(order.to_numpy()), dtype)
    return Features(ids, label, {network: vectors[network] for network in networks})


@dataclass(frozen=True)
class _RowGroup:
    file: str
    filesystem: pafs.FileSystem
    footer: pq.FileMetaData  # the file's
    number: int
    start: int  # the first row's place among all files' rows


def _row_groups(folder: str) -> list[_RowGroup]:
    """Of all Parquet files in `folder`, in their order. Raises TableError where there are none."""
    filesystem, files = parquet_files(folder)
    if not files:
        raise TableError(f"{folder} has no rows")
    footers = _on_all_cores(partial(pq.read_metadata, filesystem=filesystem), files)
    groups, start = list[_RowGroup](), 0
    for file, footer in zip(files, footers, strict=True):
        for number in range(footer.num_row_groups):
            groups.append(_RowGroup(file, filesystem, footer, number, start))
            start += footer.row_group(number).num_rows
    return groups


def _read_group(group: _RowGroup, columns: list[str]) -> pa.Table:
    with pq.ParquetFile(group.file, metadata=group.footer, filesystem=group.filesystem) as file:
        return file.read_row_group(group.number, columns=columns, use_threads=False)


def _on_all_cores(work: Callable[[Any], Any], over: Sequence[Any]) -> list[Any]:
    """In threads: pyarrow and numpy's copies let others run."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, over))


def _read_vectors(groups: list[_RowGroup], networks: list[str], rank: np.ndarray, dtype: str) -> dict[str, np.ndarray]:
    """Columns (n, d) of vectors, row i of the files at place rank[i], into memory that is there from the beginning."""
    schema = groups[0].footer.schema.to_arrow_schema()
    vectors = {network: np.empty((len(rank), schema.field(network).type.list_size), dtype) for network in networks}

    def read(group: _RowGroup) -> None:
        start = group.start
        with pq.ParquetFile(group.file, metadata=group.footer, filesystem=group.filesystem) as file:
            for batch in file.iter_batches(FITTING, [group.number], columns=networks, use_threads=False):
                places = rank[start : start + len(batch)]
                start += len(batch)
                for network, into in vectors.items():
                    into[places] = batch[network].flatten().to_numpy().reshape(len(batch), -1)

    _on_all_cores(read, groups)
    return vectors
