"""Feature tables in chunks that fit into a worker's memory, with the columns of several networks row by row.

Networks of one table stand in the same files. Networks of other tables have files of their own, in which a chunk's
rows are found by image_id: in the file of the same part, or, where tables are cut otherwise, in any file.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from lib.errors import TableError
from lib.features.schemas import IMAGES
from lib.features.tables import FeatureTable, FeatureTables
from lib.storage.parts import Part, read_part

AT = "@"  # in a part's name before what its rows are
SUMMED_ROWS = 1024  # of a chunk whose products are summed: a few large products are faster than many small ones


@dataclass(frozen=True)
class ChunkSource:
    """Files of one table that hold columns of a chunk's rows."""

    folder: str
    files: tuple[Part, ...]
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
    parts = first.parts()
    files = max(1, round(len(parts) * rows / max(1, first.rows)))
    groups = [tuple(parts[start : start + files]) for start in range(0, len(parts), files)]
    found: list[list[ChunkSource]] = [[ChunkSource(first.folder, group, tuple(columns))] for group in groups]
    ids: list[pa.ChunkedArray] = []
    for table, theirs in others:
        if table.rows != first.rows:
            raise TableError(f"{table.folder}: its images are not those of {first.folder}")
        twins = _twins(first, parts, table)
        if twins is not None:
            for sources, group in zip(found, groups, strict=True):
                sources.append(ChunkSource(table.folder, tuple(twins[part] for part in group), tuple(theirs)))
            continue
        ids = ids or [_ids(first.folder, group) for group in groups]
        places = _places(table)
        if len(places) != sum(map(len, ids)):
            raise TableError(f"{table.folder}: its images are not those of {first.folder}")
        for sources, group_ids in zip(found, ids, strict=True):
            holding = {places.get(image_id) for image_id in group_ids.to_pylist()}
            if None in holding:
                raise TableError(f"{table.folder}: its images are not those of {first.folder}")
            chosen = sorted((part for part in holding if part is not None), key=lambda part: part.path)
            sources.append(ChunkSource(table.folder, tuple(chosen), tuple(theirs)))
    return [Chunk(tuple(sources)) for sources in found]


def _ids(folder: str, files: Sequence[Part]) -> pa.ChunkedArray:
    tables = [read_part(folder, file, ["image_id"])["image_id"] for file in files]
    return pa.chunked_array([chunk for table in tables for chunk in table.chunks], pa.string())


def _twins(first: FeatureTable, parts: Sequence[Part], other: FeatureTable) -> dict[Part, Part] | None:
    """Return for each part of a table the part of the other with the same rows; None if tables are cut otherwise.

    Parts of the same numbered rows have names that end alike, as jobs.extraction.parts makes them. Ids are compared in
    the first and the last part alone, which an order of its own would change; `read_chunk` compares all that it reads.
    So ids need not be held, however many images there are.
    """
    ends = {name.rpartition(AT)[2]: part for part in other.parts() if AT in (name := _name(part))}
    found = {part: ends[end] for part in parts if (end := _name(part).rpartition(AT)[2]) in ends}
    if len(found) != len(parts) or len(ends) != len(parts):
        return None
    for part in {parts[0], parts[-1]}:
        if set(_ids(first.folder, [part]).to_pylist()) != set(_ids(other.folder, [found[part]]).to_pylist()):
            return None
    return found


def _name(part: Part) -> str:
    return posixpath.basename(part.path)


def _places(table: FeatureTable) -> dict[str, Part]:
    """Return for each image_id the file that has it."""
    return {image_id: part for part in table.parts() for image_id in _ids(table.folder, [part]).to_pylist()}


def read_chunk(chunk: Chunk) -> pa.Table:
    """Read image_id, label, and a column of vectors for each network.

    Raises TableError if an image is missing, and DamagedFile if what is read is not what was written.
    """
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
    columns = [*IMAGES.names, *source.networks]
    return pa.concat_tables([read_part(source.folder, file, columns) for file in source.files])
