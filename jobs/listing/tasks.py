"""The tasks that list a split: list sources, deal images into buckets, write the table's parts, compare ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray

from lib.images.listing import doubles, list_source
from lib.images.mixing import dealt, permutation
from lib.images.schemas import LISTING
from lib.images.sources import Source, Sources
from lib.images.summaries import Summary, summarise
from lib.images.tables import GROUP, write_parts
from lib.storage.files import is_file, read_json, write_bytes, write_json
from lib.storage.parquet import write_table
from lib.storage.uris import join_uri, resolve

PIECE = 2**20  # images that one task deals or arranges, at most
IDS = ("image_id", "path")  # the columns that are dealt to compare ids alone
Doubles = tuple[int, list[tuple[str, list[str]]]]  # how many ids stand more than once, and some with their files


@dataclass(frozen=True)
class Piece:
    """Listed images in one file of the unfinished table, of which the first `rows` count."""

    file: str  # URI
    rows: int


@dataclass(frozen=True)
class Unit:
    """What one task lists: some sources, whose images come as pieces."""

    number: int
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class UnitListed:
    """What is known of a listed unit: each source's summary, and the rows in each piece."""

    summaries: tuple[Summary, ...]
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Arranged:
    """Parts of the finished table."""

    part_rows: list[int]
    labelled: int
    largest: int | None
    doubles: Doubles = (0, [])


@ray.remote(num_cpus=1)
def list_unit(found: Sources, unit: Unit, folder: str) -> UnitListed:
    """List some sources, and write their images and what is known of them, unless that is there already."""
    known = join_uri(folder, f"unit-{unit.number:07d}.json")
    if is_file(known):
        said = read_json(known)
        return UnitListed(
            tuple(map(Summary.from_json, said["summaries"])), tuple(Piece(**piece) for piece in said["pieces"])
        )
    summaries, waiting, pieces = list[Summary](), list[pa.Table](), list[Piece]()

    def write() -> None:
        """Write what is listed and not yet written."""
        table = pa.concat_tables(waiting)
        waiting.clear()
        for start in range(0, len(table), PIECE):
            rows = table.slice(start, PIECE)
            pieces.append(Piece(join_uri(folder, f"unit-{unit.number:07d}-{len(pieces):04d}.parquet"), len(rows)))
            write_table(pieces[-1].file, rows, GROUP)

    for source in unit.sources:
        listed = list_source(found, source)
        summaries.append(summarise(listed))
        waiting.append(listed.images)
        if sum(map(len, waiting)) >= PIECE:
            write()
    if waiting:
        write()
    said = {
        "summaries": [summary.as_json() for summary in summaries],
        "pieces": [{"file": piece.file, "rows": piece.rows} for piece in pieces],
    }
    write_json(known, said)
    return UnitListed(tuple(summaries), tuple(pieces))


def read_piece(piece: Piece, columns: Sequence[str] = tuple(LISTING.names)) -> pa.Table:
    """Return some columns of a piece's images."""
    filesystem, path = resolve(piece.file)
    table = pq.read_table(
        path, columns=list(columns), filesystem=filesystem, use_threads=False, page_checksum_verification=True
    )
    return table.slice(0, piece.rows)


@ray.remote(num_cpus=1)
def deal(piece: Piece, file: str, buckets: int, columns: Sequence[str]) -> list[int]:
    """Deal a piece's images into buckets, write them as one file with a batch for each, and return their numbers."""
    hands = dealt(read_piece(piece, columns), buckets)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, hands[0].schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        for hand in hands:
            (batch,) = hand.combine_chunks().to_batches() or [empty_batch(hand.schema)]
            writer.write_batch(batch)
    write_bytes(file, sink.getvalue())
    return [len(hand) for hand in hands]


def empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch without rows."""
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def read_hands(files: list[str], bucket: int) -> pa.Table:
    """Return one bucket's images from all files that `deal` wrote."""
    batches = []
    for file in files:
        filesystem, path = resolve(file)
        with filesystem.open_input_file(path) as stream:
            batches.append(pa.ipc.open_file(stream).get_batch(bucket))
    return pa.Table.from_batches(batches)


@ray.remote(num_cpus=1)
def mix_bucket(files: list[str], bucket: int, buckets: int, folder: str, first: int) -> Arranged:
    """Mix one bucket's images, write them as parts, the first of which has the number `first`, and compare ids."""
    return _mixed(read_hands(files, bucket), bucket, buckets, folder, first)


@ray.remote(num_cpus=1)
def mix_all(pieces: Sequence[Piece], folder: str) -> Arranged:
    """Mix all images at once, write them as parts, and compare their ids."""
    return _mixed(pa.concat_tables(map(read_piece, pieces)), 0, 1, folder, 0)


def _mixed(images: pa.Table, bucket: int, buckets: int, folder: str, first: int) -> Arranged:
    found = doubles(images)
    if found[0]:
        return Arranged([], 0, None, found)
    return _arranged(images.take(permutation(len(images), bucket, buckets)), folder, first)


def _arranged(images: pa.Table, folder: str, first: int) -> Arranged:
    labels = images["label"]
    return Arranged(write_parts(folder, first, images), len(labels) - labels.null_count, pc.max(labels).as_py())


@ray.remote(num_cpus=1)
def keep_order(piece: Piece, folder: str, first: int) -> Arranged:
    """Write a piece's images as parts in the order that they have."""
    return _arranged(read_piece(piece), folder, first)


@ray.remote(num_cpus=1)
def compare_all(pieces: Sequence[Piece]) -> Doubles:
    """Compare the ids of all images at once."""
    return doubles(pa.concat_tables(read_piece(piece, IDS) for piece in pieces))


@ray.remote(num_cpus=1)
def compare_bucket(files: list[str], bucket: int) -> Doubles:
    """Compare the ids of one bucket's images."""
    return doubles(read_hands(files, bucket))
