"""Features that were computed elsewhere -> feature tables with the same rows in the same order as extracted ones.

Ray tasks read pieces of the files and look up which of the listed images each vector belongs to. Ray Data sorts the
rows into the tables' parts. What all tasks share of the listing is 28 bytes an image, once on each node.
"""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from jobs.cluster.capacity import WRITE_CPUS
from jobs.cluster.runs import Run, say
from jobs.extraction.sink import TableSink
from jobs.extraction.unfinished_tables import Pass
from lib.errors import TableError
from lib.experiment.network_settings import FeatureFiles
from lib.features.schemas import IMAGES, REJECTS
from lib.features.tables import describe_parts
from lib.images.batches import REASON
from lib.storage.files import delete_files, for_all
from lib.storage.parquet import read_rows, read_schema
from lib.storage.parts import list_parts
from lib.storage.vector_files import ID, VECTOR, Piece, pieces_of, read_piece, vector_files

FEW = 3  # ids that a message names


def import_pass(run: Run, plan: Pass) -> None:
    """Write one network's feature table from files of vectors, and its manifest.

    Images that the experiment's other networks rejected are left out, so that all tables hold the same images. Raises
    TableError if a listed image has no vector, or several.
    """
    (network,) = plan.networks
    files = run.experiment.networks[network].features
    if files is None:
        raise ValueError(f"expected files of features of {network!r}")
    delete_files(plan.folder, lambda name: name.endswith(".parquet"))
    rejected = read_rows(plan.rejects, REJECTS)
    unread = pc.is_in(plan.listing["image_id"], value_set=rejected["image_id"].combine_chunks())
    listing = plan.listing.filter(pc.invert(unread))
    write_table_of(files, plan, listing, run.experiment.extract.dtype)
    check_every_image(plan, listing, files.location(plan.split))
    reasons = Counter(reason.partition(":")[0] for reason in rejected["reason"].to_pylist())
    counts = {
        "listed": len(plan.listing),
        "extracted": len(listing),
        "rejected": len(plan.listing) - len(listing),
        "reasons": dict(sorted(reasons.items())),
    }
    schema = read_schema(plan.folder)
    sizes = {network: schema.field(network).type.list_size}
    described = describe_parts(plan.folder, list_parts(plan.folder), sizes)
    plan.artifact.finish(len(listing), schema, images=counts, recomputed=0, **described)
    say("extract", f"{plan.split}: {len(listing)} vectors of {network} from {files.location(plan.split)}")


def write_table_of(files: FeatureFiles, plan: Pass, listing: pa.Table, dtype: str) -> None:
    """Write the table's parts: the rows of each listed image, in the listing's order."""
    (network,) = plan.networks
    named = vector_files(files.location(plan.split))
    pieces = [
        piece for found in for_all(lambda file: pieces_of(file, files.key, files.vector), named) for piece in found
    ]
    index = ray.put(Index.of(listing))
    blocks = [pa.table({"piece": pa.array([number], pa.int64())}) for number in range(len(pieces))]
    rows = ray.data.from_blocks(blocks).map_batches(
        locate, batch_format="pyarrow", batch_size=1, fn_args=(ray.put(pieces), index, network, dtype, plan.split)
    )
    count = int(plan.listing["row"][-1].as_py()) + 1
    first = int(plan.listing["row"][0].as_py()) // plan.size
    edges = [plan.size * part for part in range(first + 1, -(-count // plan.size))]
    sink = TableSink({plan.split: (plan.folder, plan.rejects)}, plan.name, plan.size)
    ordered = rows.sort("row", boundaries=edges) if edges else rows.sort("row")
    ordered.write_datasink(sink, ray_remote_args={"num_cpus": WRITE_CPUS})


class Index:
    """Which row and label each listed image has, by a checksum of its id. Arrays are shared on a node, not copied."""

    def __init__(self, low: np.ndarray, high: np.ndarray, row: np.ndarray, label: np.ndarray) -> None:
        self.low, self.high, self.row, self.label = low, high, row, label

    @classmethod
    def of(cls, listing: pa.Table) -> Index:
        """Return the index of a listing with the columns image_id, label and row."""
        low, high = checksums(listing["image_id"].to_pylist())
        order = np.argsort(low)
        label = pc.fill_null(listing["label"], -1).to_numpy()
        return cls(low[order], high[order], listing["row"].to_numpy()[order], label[order])

    def find(self, ids: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return which of the ids are listed, (n,) bool, and the places of those in the index."""
        low, high = checksums(ids)
        place = np.minimum(np.searchsorted(self.low, low), len(self.low) - 1)
        known = (self.low[place] == low) & (self.high[place] == high)
        return known, place[known]


def checksums(ids: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return two halves of a checksum of 128 bits of each id, (n,) each."""
    data = b"".join(hashlib.blake2b(image_id.encode(), digest_size=16).digest() for image_id in ids)
    halves = np.frombuffer(data, np.uint64).reshape(-1, 2)
    return halves[:, 0], halves[:, 1]


def locate(
    batch: pa.Table, pieces: ray.ObjectRef, index: ray.ObjectRef, network: str, dtype: str, split: str
) -> pa.Table:
    """Read a piece, and return the rows of those images that are listed, as the sink takes them.

    Raises TableError if a number is beyond the largest of the table's number type.
    """
    listed: Index = ray.get(index)
    every: list[Piece] = ray.get(pieces)
    found = read_piece(every[batch["piece"][0].as_py()])
    known, place = listed.find(found[ID].to_pylist())
    found = found.filter(pa.array(known))
    vectors = found[VECTOR].combine_chunks()
    size = vectors.type.list_size
    numbers = vectors.flatten().to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        stored = numbers.astype(dtype)
    if not np.isfinite(stored).all():
        raise TableError(f'network {network!r}: numbers are beyond {dtype}\'s largest; set extract.dtype = "float32"')
    label = listed.label[place]
    return pa.table(
        {
            "image_id": found[ID].cast(pa.string()),
            "label": pa.array(label, pa.int32(), mask=label < 0),
            network: pa.FixedSizeListArray.from_arrays(pa.array(stored), size),
            REASON: pa.nulls(len(found), pa.string()),
            "row": pa.array(listed.row[place]),
            "split": pa.array([split] * len(found), pa.string()),
        }
    )


def check_every_image(plan: Pass, listing: pa.Table, location: str) -> None:
    """Raise TableError unless each listed image has one vector."""
    written = read_rows(plan.folder, IMAGES)["image_id"]
    missing = listing["image_id"].filter(pc.invert(pc.is_in(listing["image_id"], value_set=written.combine_chunks())))
    if len(missing):
        raise TableError(
            f"{location}: {len(missing)} of the {len(listing)} images of {plan.split} have no vector there, such as "
            f"{', '.join(missing.slice(0, FEW).to_pylist())}. Ids must be the listing's, as image_id has them"
        )
    if len(written) > len(listing):
        counts = pc.value_counts(written.combine_chunks())
        twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        raise TableError(
            f"{location}: {len(twice)} ids have several vectors, such as {', '.join(twice.to_pylist()[:FEW])}"
        )
