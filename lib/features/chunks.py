"""A feature table in chunks that fit into a worker's memory, with the columns of several networks row by row.

Networks of one pass stand in the same files. Those of other passes have files of their own, in which a chunk's rows are
found by image_id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lib.errors import TableError
from lib.features.schemas import IMAGES
from lib.features.tables import find_pass, row_count
from lib.storage.parquet import parquet_files
from lib.storage.uris import resolve

SUMMED = 1024  # rows of a chunk whose products are summed, about: few large products, not many small ones


@dataclass(frozen=True)
class ChunkSource:
    """Files of one pass that hold columns of a chunk's rows."""

    folder: str
    files: tuple[str, ...]
    networks: tuple[str, ...]


@dataclass(frozen=True)
class Chunk:
    """Some rows of a feature table: all that are in the first source's files, and the same images in the others."""

    sources: tuple[ChunkSource, ...]


def split_into_chunks(features: str, networks: Sequence[str], rows: int = 1) -> list[Chunk]:
    """All rows of the split `features` (`<root>/features/<split>`) in chunks of whole files of the first pass, as many
    as have about `rows` rows.

    Raises TableError where a network has no finished table, or two passes aren't of the same images.
    """
    passes: dict[str, list[str]] = {}
    for network in networks:
        passes.setdefault(find_pass(features, network), []).append(network)
    (first, columns), *others = passes.items()
    names = parquet_files(first)[1]
    files = max(1, round(len(names) * rows / max(1, row_count(features, networks[0]))))
    groups = [tuple(names[start : start + files]) for start in range(0, len(names), files)]
    found: list[list[ChunkSource]] = [[ChunkSource(first, group, tuple(columns))] for group in groups]
    for folder, theirs in others:
        places = _places(folder)
        if len(places) != sum(len(_ids(first, group)) for group in groups):
            raise TableError(f"{folder}: its images aren't those of {first}")
        for sources, group in zip(found, groups, strict=True):
            holding = {places.get(image_id, "") for image_id in _ids(first, group).to_pylist()}
            if "" in holding:
                raise TableError(f"{folder}: its images aren't those of {first}")
            sources.append(ChunkSource(folder, tuple(sorted(holding)), tuple(theirs)))
    return [Chunk(tuple(sources)) for sources in found]


def _ids(folder: str, files: Sequence[str]) -> pa.ChunkedArray:
    filesystem = resolve(folder)[0]
    parts = [pq.read_table(file, columns=["image_id"], filesystem=filesystem)["image_id"] for file in files]
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string())


def _places(folder: str) -> dict[str, str]:
    """image_id -> the file that has it."""
    return {image_id: file for file in parquet_files(folder)[1] for image_id in _ids(folder, [file]).to_pylist()}


def read_chunk(chunk: Chunk) -> pa.Table:
    """image_id, label, and a column of vectors for each network. Raises TableError where an image is missing."""
    first, *others = chunk.sources
    rows = _read(first)
    for source in others:
        theirs = _read(source)
        where = pc.index_in(rows["image_id"], value_set=theirs["image_id"].combine_chunks())
        if where.null_count:
            raise TableError(f"{source.folder}: {where.null_count} images of {first.folder} are missing there")
        for network in source.networks:
            rows = rows.append_column(network, theirs[network].take(where))
    return rows


def _read(source: ChunkSource) -> pa.Table:
    filesystem = resolve(source.folder)[0]
    columns = [*IMAGES.names, *source.networks]
    return pa.concat_tables([pq.read_table(file, columns=columns, filesystem=filesystem) for file in source.files])


def vectors_of(rows: pa.Table, network: str) -> np.ndarray:
    """A feature column as (n, d), of the table's own type of number."""
    column = rows[network].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), column.type.list_size)
