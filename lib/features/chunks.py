"""Feature tables in chunks that fit into a worker's memory, with the columns of several networks row by row.

Networks of one table stand in the same files. Networks of other tables have files of their own, in which a chunk's
rows are found by image_id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lib.errors import TableError
from lib.features.schemas import IMAGES
from lib.features.tables import FeatureTables
from lib.storage.parquet import parquet_files
from lib.storage.uris import resolve

SUMMED_ROWS = 1024  # of a chunk whose products are summed: a few large products are faster than many small ones


@dataclass(frozen=True)
class ChunkSource:
    """Files of one table that hold columns of a chunk's rows."""

    folder: str
    files: tuple[str, ...]
    networks: tuple[str, ...]


@dataclass(frozen=True)
class Chunk:
    """Some rows of a split: all rows in the first source's files, and the same images in the other sources."""

    sources: tuple[ChunkSource, ...]


def split_into_chunks(tables: FeatureTables, networks: Sequence[str], rows: int = 1) -> list[Chunk]:
    """Return all rows of a split in chunks of about `rows` rows, each made of whole files of the first table.

    Raises TableError if a network has no finished table, or if two tables do not hold the same images.
    """
    (first, columns), *others = tables.by_table(networks)
    names = parquet_files(first.folder)[1]
    files = max(1, round(len(names) * rows / max(1, first.rows)))
    groups = [tuple(names[start : start + files]) for start in range(0, len(names), files)]
    found: list[list[ChunkSource]] = [[ChunkSource(first.folder, group, tuple(columns))] for group in groups]
    ids = [_ids(first.folder, group) for group in groups] if others else []
    for table, theirs in others:
        places = _places(table.folder)
        if len(places) != sum(map(len, ids)):
            raise TableError(f"{table.folder}: its images are not those of {first.folder}")
        for sources, group_ids in zip(found, ids, strict=True):
            holding = {places.get(image_id, "") for image_id in group_ids.to_pylist()}
            if "" in holding:
                raise TableError(f"{table.folder}: its images are not those of {first.folder}")
            sources.append(ChunkSource(table.folder, tuple(sorted(holding)), tuple(theirs)))
    return [Chunk(tuple(sources)) for sources in found]


def _ids(folder: str, files: Sequence[str]) -> pa.ChunkedArray:
    filesystem = resolve(folder)[0]
    parts = [pq.read_table(file, columns=["image_id"], filesystem=filesystem)["image_id"] for file in files]
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string())


def _places(folder: str) -> dict[str, str]:
    """Return for each image_id the file that has it."""
    return {image_id: file for file in parquet_files(folder)[1] for image_id in _ids(folder, [file]).to_pylist()}


def read_chunk(chunk: Chunk) -> pa.Table:
    """Read image_id, label, and a column of vectors for each network. Raises TableError if an image is missing."""
    first, *others = chunk.sources
    rows = _read(first)
    for source in others:
        theirs = _read(source)
        where = pc.index_in(rows["image_id"], value_set=theirs["image_id"].combine_chunks())
        if where.null_count:
            raise TableError(f"{source.folder}: {where.null_count} images of {first.folder} are missing")
        for network in source.networks:
            rows = rows.append_column(network, theirs[network].take(where))
    return rows


def _read(source: ChunkSource) -> pa.Table:
    filesystem = resolve(source.folder)[0]
    columns = [*IMAGES.names, *source.networks]
    return pa.concat_tables([pq.read_table(file, columns=columns, filesystem=filesystem) for file in source.files])
