"""Features that were computed elsewhere -> feature tables with the same rows in the same parts as extracted ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import ray

from jobs.cluster.capacity import READ_CPUS, WRITE_CPUS
from jobs.cluster.in_turn import answer, in_turn
from jobs.cluster.runs import Run, say
from jobs.extraction.matching import FEW, MISSING, Matching, Rejects, count_buckets, match_by_id, match_few
from jobs.extraction.parts import rows_named
from jobs.extraction.passes import Pass
from jobs.extraction.sink import TableSink
from jobs.extraction.unfinished_tables import finish_pass
from jobs.extraction.vector_pieces import pieces_there
from jobs.extraction.written_parts import remove_incomplete_parts
from lib.errors import TableError
from lib.experiment.network_settings import FeatureFiles
from lib.features.schemas import REJECTS
from lib.images.batches import REASON
from lib.storage.parquet import parquet_files, read_table
from lib.storage.uris import join_uri
from lib.storage.vector_files import Piece, vector_files, vector_size


def import_pass(run: Run, plan: Pass) -> None:
    """Write one network's feature table from files of vectors, and its manifest.

    Images that the experiment's other networks rejected are rejected, too, so that all tables hold the same images.
    Raises TableError if another listed image has no vector, or several.
    """
    (network,) = plan.networks
    files = run.experiment.networks[network].features
    if files is None:
        raise ValueError(f"expected files of features of {network!r}")
    parts = remove_incomplete_parts(plan)
    if parts:
        write_parts(plan, files, parts, run.experiment.extract.dtype)
    finish_pass(run, plan)


def write_parts(plan: Pass, files: FeatureFiles, parts: Sequence[int], dtype: str) -> None:
    """Write these parts of the table. Raises TableError."""
    location = files.location(plan.split)
    say("extract", f"{plan.split}: vectors of {plan.name} are read from {location}")
    named = vector_files(location)
    size = vector_size(named[0], files.key, files.vector)
    pieces = pieces_there(named, files.key, files.vector)
    matching = Matching(plan, rejects_of_others(plan), size, dtype)
    sink = TableSink({plan.split: (plan.folder, plan.rejects)}, plan.name, plan.share.size)
    if count_buckets(matching, parts, pieces) == 1:
        answer(write_few.remote(matching, parts, pieces, sink))
    else:
        written = match_by_id(matching, parts, pieces).groupby("part", num_partitions=len(parts))
        numbers = written.map_groups(partial(write_rows, sink=sink), batch_format="pyarrow", num_cpus=WRITE_CPUS)
        for _ in numbers.iter_batches(batch_size=None):
            pass
    refuse_missing(plan, location)


@ray.remote(num_cpus=1)
def write_few(matching: Matching, parts: Sequence[int], pieces: Sequence[Piece], sink: TableSink) -> None:
    """Write parts of so few rows that one process holds them."""
    write_rows(match_few(matching, parts, pieces), sink)


def write_rows(rows: pa.Table, sink: TableSink) -> pa.Table:
    """Write whole parts in the listing's order, and return one's number."""
    sink.write([rows.drop_columns("part").sort_by("row")], None)
    return rows.select(["part"]).slice(0, 1)


def rejects_of_others(plan: Pass) -> list[Rejects]:
    """Return the files of the images of this split that other passes rejected."""
    names = [os.path.basename(path) for path in parquet_files(plan.rejects)[1]]
    others = [name for name in names if not name.startswith(f"{plan.name}@")]
    return [Rejects(join_uri(plan.rejects, name), *rows_named(name)) for name in others]


def refuse_missing(plan: Pass, location: str) -> None:
    """Raise TableError if images have no vector, though no other network rejected them."""
    names = [os.path.basename(path) for path in parquet_files(plan.rejects)[1]]
    mine = [join_uri(plan.rejects, name) for name in names if name.startswith(f"{plan.name}@")]
    count, few = 0, list[str]()
    for ids in in_turn(lambda uri: ids_without_vector.remote(uri), mine):
        count += len(ids)
        few += ids[: FEW - len(few)]
    if count:
        raise TableError(
            f"{location}: {count} of the {plan.rows} images of {plan.split} have no vector there, such as "
            f"{', '.join(few)}. Ids must be the listing's, as image_id has them"
        )


@ray.remote(num_cpus=READ_CPUS)
def ids_without_vector(uri: str) -> list[str]:
    """Return the ids of a file of rejected images that are there since they have no vector."""
    rows = read_table(uri, REJECTS)
    ids: list[str] = rows.filter(pc.equal(rows[REASON], MISSING))["image_id"].to_pylist()
    return ids
