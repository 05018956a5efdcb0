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
import pyarrow.parquet as pq

from lib.errors import DamagedFile, TableError
from lib.features.schemas import IMAGES
from lib.features.tables import FeatureTable, FeatureTables
from lib.storage.parts import open_part, read_footer

CACHED_ROWS = 128  # rows that are unpacked at once: their vectors fit into a core's cache


@dataclass(frozen=True)
class Features:
    """Feature vectors of some networks for the same images in one order."""

    image_id: np.ndarray  # (n,) str
    label: pa.Array  # (n,) int32, null where unknown
    vectors: dict[str, np.ndarray]  # (n, d) each


def read_features(tables: FeatureTables, networks: Sequence[str], dtype: str = "float32") -> Features:
    """Read the columns of `networks`, from one table or several, matched and sorted by image_id. Nothing is read twice.

    Raises TableError if a network has no finished table, an id is missing in one of the tables, or stands in one twice,
    and DamagedFile if what is read is not what was written.
    """
    ids: np.ndarray | None = None
    label = pa.nulls(0, pa.int32())
    vectors: dict[str, np.ndarray] = {}
    for table, columns in tables.by_table(networks):
        groups = _row_groups(table)
        images = pa.concat_tables(_on_all_cores(partial(_read_group, columns=IMAGES.names), groups))
        order = pc.sort_indices(images["image_id"])
        found = images["image_id"].take(order).to_numpy()
        if ids is None:
            ids, label = found, images["label"].take(order).combine_chunks()
            if (ids[1:] == ids[:-1]).any():
                raise TableError(f"{table.folder}: an image_id stands there twice")
        elif not np.array_equal(ids, found):
            raise TableError(f"{table.folder}: its image_ids are not those of {networks[0]!r}")
        vectors |= _read_vectors(groups, columns, np.argsort(order.to_numpy()), dtype)
    return Features(
        np.empty(0, object) if ids is None else ids, label, {network: vectors[network] for network in networks}
    )


@dataclass(frozen=True)
class _RowGroup:
    """A row group of a Parquet file, and where its rows stand among the rows of all files."""

    folder: str  # the table's
    file: str
    footer: pq.FileMetaData  # the file's
    number: int  # in the file
    start: int  # the place of its first row


def _row_groups(table: FeatureTable) -> list[_RowGroup]:
    """Return the row groups of all files of a table, in their order.

    Raises TableError if there are none, or not as many rows as the manifest says, and DamagedFile.
    """
    parts = table.parts()
    if not parts:
        raise TableError(f"{table.folder} has no rows")
    footers = _on_all_cores(partial(read_footer, table.folder), parts)
    groups, start = list[_RowGroup](), 0
    for part, footer in zip(parts, footers, strict=True):
        for number in range(footer.num_row_groups):
            groups.append(_RowGroup(table.folder, part.path, footer, number, start))
            start += footer.row_group(number).num_rows
    if start != table.rows:
        raise DamagedFile(table.folder, f"its files have {start:,} rows, its manifest says {table.rows:,}")
    return groups


def _read_group(group: _RowGroup, columns: list[str]) -> pa.Table:
    """Read some columns of one row group."""
    with open_part(group.folder, group.file, group.footer) as file:
        return file.read_row_group(group.number, columns=columns, use_threads=False)


def _on_all_cores(work: Callable[[Any], Any], over: Sequence[Any]) -> list[Any]:
    """Do the work in threads: pyarrow and numpy's copies release the interpreter's lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, over))


def _read_vectors(groups: list[_RowGroup], networks: list[str], rank: np.ndarray, dtype: str) -> dict[str, np.ndarray]:
    """Read columns (n, d) of vectors into preallocated memory. Row i of the files goes to place rank[i]."""
    schema = groups[0].footer.schema.to_arrow_schema()
    vectors = {network: np.empty((len(rank), schema.field(network).type.list_size), dtype) for network in networks}

    def read(group: _RowGroup) -> None:
        start = group.start
        with open_part(group.folder, group.file, group.footer) as file:
            for batch in file.iter_batches(CACHED_ROWS, [group.number], columns=networks, use_threads=False):
                places = rank[start : start + len(batch)]
                start += len(batch)
                for network, into in vectors.items():
                    into[places] = batch[network].flatten().to_numpy().reshape(len(batch), -1)

    _on_all_cores(read, groups)
    return vectors
