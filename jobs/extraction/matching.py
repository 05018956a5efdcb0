"""Listed images and vectors that were computed elsewhere, brought together by their ids.

Ray Data groups both by a checksum of the id, bucket by bucket. No process holds more than some buckets. What fits into
one bucket needs no grouping.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from jobs.cluster.capacity import READ_CPUS
from jobs.extraction.passes import Pass
from lib.errors import TableError
from lib.features.schemas import REJECTS
from lib.images.batches import REASON
from lib.storage.columns import column_vectors, vector_column
from lib.storage.parquet import read_table
from lib.storage.vector_files import ID, VECTOR, Piece, read_piece

MISSING = "no vector"  # the reason that images without a vector get
FEW = 3  # ids that a message names
BUCKET_ROWS = 16_384  # listed images and vectors in a bucket, about


@dataclass(frozen=True)
class Rejects:
    """A file of images that another pass rejected, among the numbered rows."""

    uri: str
    first: int
    end: int


@dataclass(frozen=True)
class Matching:
    """What all tasks of one import know."""

    plan: Pass
    rejects: Sequence[Rejects]  # other passes'
    size: int  # d
    dtype: str  # of the numbers in the table

    @property
    def network(self) -> str:
        """The only network of the pass."""
        return self.plan.networks[0]


def match_by_id(matching: Matching, parts: Sequence[int], pieces: Sequence[Piece]) -> ray.data.Dataset:
    """Return the rows of the listed images of these parts, as the sink takes them, in any order."""
    buckets = count_buckets(matching, parts, pieces)
    shared, every = ray.put(matching), ray.put(list(pieces))

    def listed(batch: pa.Table) -> pa.Table:
        """Read the part whose number the batch has."""
        return read_listed(batch["number"][0].as_py(), ray.get(shared), buckets)

    def given(batch: pa.Table) -> pa.Table:
        """Read the piece whose number the batch has."""
        return read_given(ray.get(every)[batch["number"][0].as_py()], ray.get(shared), buckets)

    both = in_tasks(listed, parts).union(in_tasks(given, range(len(pieces))))
    grouped = both.groupby("bucket", num_partitions=buckets)
    return grouped.map_groups(lambda rows: match(rows, ray.get(shared)), batch_format="pyarrow")


def match_few(matching: Matching, parts: Sequence[int], pieces: Sequence[Piece]) -> pa.Table:
    """Return the same rows, read in one process."""
    listed = [read_listed(part, matching, 1) for part in parts]
    return match(pa.concat_tables([*listed, *(read_given(piece, matching, 1) for piece in pieces)]), matching)


def count_buckets(matching: Matching, parts: Sequence[int], pieces: Sequence[Piece]) -> int:
    """Return how many buckets of about BUCKET_ROWS rows the images of these parts and the vectors fill."""
    ranges = [matching.plan.share.rows_of(part) for part in parts]
    rows = sum(piece.rows for piece in pieces) + sum(end - first for first, end in ranges)
    return max(1, rows // BUCKET_ROWS)


def in_tasks(read: Callable[[pa.Table], pa.Table], numbers: Sequence[int]) -> ray.data.Dataset:
    """Return what a function reads of each number, which it gets as a table of one row."""
    single = ray.data.from_blocks([pa.table({"number": pa.array([number], pa.int64())}) for number in numbers])
    return single.map_batches(read, batch_format="pyarrow", batch_size=1, num_cpus=READ_CPUS)


def read_listed(part: int, matching: Matching, buckets: int) -> pa.Table:
    """Return the listed images of a part, without vectors, with the reason for which other passes rejected them."""
    plan = matching.plan
    first, end = plan.share.rows_of(part)
    start = plan.images.start(plan.split)
    rows = plan.images.tables[plan.split].read(first - start, end - start, ["image_id", "label"])
    there = [read_table(found.uri, REJECTS) for found in matching.rejects if found.first < end and found.end > first]
    rejected = pa.concat_tables([REJECTS.empty_table(), *there])
    where = pc.index_in(rows["image_id"], value_set=rejected["image_id"].combine_chunks())
    return unmatched(
        rows["image_id"],
        buckets,
        matching.dtype,
        label=rows["label"],
        row=pa.array(np.arange(first, end)),
        reason=rejected[REASON].combine_chunks().take(where.combine_chunks()),
    )


def read_given(piece: Piece, matching: Matching, buckets: int) -> pa.Table:
    """Return a piece's vectors. Raises TableError if a number is beyond the largest of the table's number type."""
    found = read_piece(piece)
    vectors = column_vectors(found, VECTOR)
    with np.errstate(over="ignore"):
        stored = vectors.astype(matching.dtype)
    if not np.isfinite(stored).all():
        raise TableError(
            f"network {matching.network!r}: numbers are beyond {matching.dtype}'s largest; set extract.dtype = "
            '"float32"'
        )
    edges = pa.array(np.arange(len(stored) + 1) * stored.shape[1], pa.int64())
    return unmatched(
        found[ID].cast(pa.string()),
        buckets,
        matching.dtype,
        vector=pa.LargeListArray.from_arrays(edges, pa.array(stored.ravel())),
    )


def unmatched(ids: pa.ChunkedArray, buckets: int, dtype: str, **columns: pa.Array) -> pa.Table:
    """Return rows of listed images, or of vectors, with nulls in the columns that they do not have."""
    types = {
        "label": pa.int32(),
        "row": pa.int64(),
        "reason": pa.string(),
        "vector": pa.large_list(pa.from_numpy_dtype(dtype)),
    }
    checksums = [zlib.crc32(image_id.encode()) % buckets for image_id in ids.to_pylist()]
    rows = {"image_id": ids, "bucket": pa.array(checksums, pa.int32())}
    return pa.table(rows | {name: columns.get(name, pa.nulls(len(ids), type_)) for name, type_ in types.items()})


def match(rows: pa.Table, matching: Matching) -> pa.Table:
    """Return the listed images of a bucket as the sink takes them: with their vectors, or with a reason.

    Raises TableError if an image has several vectors.
    """
    listed, given = (rows.filter(keep) for keep in (pc.is_valid(rows["row"]), pc.is_null(rows["row"])))
    given = given.filter(pc.is_in(given["image_id"], value_set=listed["image_id"].combine_chunks()))
    counts = pc.value_counts(given["image_id"].combine_chunks())
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
    if twice:
        raise TableError(
            f"features of {matching.network!r}: ids with several vectors, such as {', '.join(twice[:FEW])}"
        )
    where = pc.index_in(listed["image_id"], value_set=given["image_id"].combine_chunks()).combine_chunks()
    found = pc.is_valid(where).to_numpy(zero_copy_only=False)
    vectors = np.zeros((len(listed), matching.size), matching.dtype)
    numbers = given["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    vectors[found] = numbers.reshape(-1, matching.size)[where.drop_null().to_numpy()]
    return pa.table(
        {
            "image_id": listed["image_id"],
            "label": listed["label"],
            matching.network: vector_column(vectors, ~found),
            REASON: pc.coalesce(listed["reason"], pc.if_else(pa.array(found), pa.scalar(None, pa.string()), MISSING)),
            "row": listed["row"],
            "part": pc.divide(listed["row"], matching.plan.share.size),
            "split": pa.repeat(matching.plan.split, len(listed)),
        }
    )
