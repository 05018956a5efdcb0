"""A pass: the table of one split that still lacks some networks' columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from jobs.cluster.capacity import WRITE_CPUS
from jobs.cluster.runs import Run, say
from jobs.extraction.checks import check_rejected
from jobs.extraction.parts import blocks, part_name, part_size
from jobs.extraction.sink import TableSink
from jobs.extraction.stream import stream_features
from jobs.extraction.tally import read_tally, start_tally
from lib.errors import TableError
from lib.experiment.settings import Experiment
from lib.features.schemas import IMAGES, REJECTS
from lib.features.tables import finished_pass
from lib.networks.descriptions import Description
from lib.storage.files import delete, delete_files, read_json
from lib.storage.manifests import Artifact, digest, record_matches
from lib.storage.parquet import read_rows, read_schema, remove_truncated
from lib.storage.uris import join_uri


def numbered(listings: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """In random order, with a column `row` that counts the images of all splits: the tables' parts are cut by it.

    So each part is a sample of all classes, as streamed fits want their rows. Images in Parquet files keep their
    order, since their row groups are read whole. The order is the same in every run, whatever its seed.
    """
    ends = np.cumsum([len(listing) for listing in listings.values()])
    return {
        split: mixed(listing).append_column("row", pa.array(np.arange(end - len(listing), end)))
        for (split, listing), end in zip(listings.items(), ends, strict=True)
    }


def mixed(listing: pa.Table) -> pa.Table:
    in_row_groups = listing["column"].null_count < len(listing)
    return listing if in_row_groups else listing.take(np.random.default_rng(0).permutation(len(listing)))


@dataclass(frozen=True)
class Pass:
    """One split's table that is still to be made or finished: a column for each of `networks`."""

    split: str
    networks: tuple[str, ...]
    listing: pa.Table  # all images
    folder: str
    rejects: str
    computed: str  # how many images were computed, jobs.tally's file
    size: int  # of the table's parts
    product: Artifact

    @property
    def name(self) -> str:
        return "+".join(self.networks)


def plan_pass(run: Run, split: str, listings: dict[str, pa.Table], described: dict[str, Description]) -> Pass | None:
    """What is missing of a split's features; None where nothing is."""
    listing = listings[split]
    wanted = {name: made_from(run.experiment, listing, {name: described[name]}) for name in described}
    missing = tuple(name for name in described if not has_finished_column(run, split, name, wanted[name]))
    if not missing:
        say("extract", f"{split}: features of {', '.join(described)} are finished, skipped")
        return None
    folder = run.path("features", split, "+".join(missing))
    product = Artifact(
        manifest=join_uri(folder, "manifest.json"),
        data=(folder,),
        made_from=made_from(run.experiment, listing, {network: described[network] for network in missing}),
    )
    product.begin(run.overwrite)
    computed = join_uri(folder, "computed.json")
    size = part_size(sum(map(len, listings.values())), run.experiment.extract)
    return Pass(split, missing, listing, folder, run.path("rejects", split), computed, size, product)


def compute_passes(run: Run, passes: list[Pass], described: dict[str, Description]) -> None:
    """Write what is missing of the tables of these splits, which have the same networks: all in one stream."""
    remaining = []
    for one in passes:
        rows = remove_incomplete_parts(one)
        done = len(one.listing) - len(rows)
        say("extract", f"{one.split}: {len(rows)} images to do" + (f", {done} are already done" if done else ""))
        remaining.append(rows.append_column("split", pa.array([one.split] * len(rows), pa.string())))
    listing = pa.concat_tables(remaining)
    if not len(listing):
        return
    experiment = run.experiment
    sink = TableSink({one.split: (one.folder, one.rejects) for one in passes}, passes[0].name, passes[0].size)
    work = blocks(listing, passes[0].size, experiment.extract.batch_size)
    networks = {network: experiment.networks[network] for network in passes[0].networks}
    tally = start_tally({one.split: one.computed for one in passes})
    rows = stream_features(work, networks, described, experiment.extract, experiment.images.max_pixels, tally)
    rows.write_datasink(sink, ray_remote_args={"num_cpus": WRITE_CPUS})
    ray.get(tally.write.remote())


def finish_pass(run: Run, one: Pass) -> None:
    """Count, and call the table finished. Raises RunError where too many images are unreadable."""
    counts = count_images(one)
    unread = read_rows(one.rejects, REJECTS, f"{one.name}@").slice(0, 5).to_pylist()
    few = [f"{row['image_id']}: {row['reason']}" for row in unread]
    allowed = run.experiment.images.max_rejected
    check_rejected(f"images.{one.split}", counts["rejected"], counts["listed"], allowed, few)
    recomputed = max(0, read_tally(one.computed) - counts["listed"])
    one.product.finish(counts["extracted"], read_schema(one.folder), images=counts, recomputed=recomputed)
    again = f"; {recomputed} were computed again after interruptions" if recomputed else ""
    summary = f"{counts['extracted']} extracted, {counts['rejected']} rejected of {counts['listed']}"
    say("extract", f"{one.split}: {summary}{again}")


def made_from(experiment: Experiment, listing: pa.Table, described: dict[str, Description]) -> dict[str, Any]:
    """What a feature table depends on, as its manifest records it."""
    extract = experiment.extract
    return {
        "images": digest([listing["image_id"].to_pylist(), listing["label"].to_pylist()]),
        "precision": extract.precision,
        "tf32": extract.tf32,
        "compile": extract.compile,
        "dtype": extract.dtype,
        "max_pixels": experiment.images.max_pixels,
        "networks": {
            name: {"weights": network.fingerprint, "preprocessing": network.preprocessing}
            for name, network in described.items()
        },
    }


def has_finished_column(run: Run, split: str, network: str, wanted: dict[str, Any]) -> bool:
    """Whether a finished table has the network's column, made from what is wanted now."""
    folder = finished_pass(run.path("features", split), network)
    if folder is None:
        return False
    record = join_uri(folder, "manifest.json")
    found = read_json(record)["made_from"]
    found["networks"] = {network: found["networks"][network]}
    if record_matches(record, found, wanted, run.overwrite):
        return True
    delete(folder)
    return False


def remove_incomplete_parts(one: Pass) -> pa.Table:
    """The images that an earlier, interrupted run didn't write. Parts with rejected ones are made anew: they may be
    mended, and a part has one file.
    """
    remove_truncated(one.folder)
    delete_files(one.rejects, lambda name: name.startswith(f"{one.name}@"))
    parts = pc.unique(pc.divide(unwritten(one)["row"], one.size)).to_pylist()
    delete_files(one.folder, {part_name(one.name, one.size, part) for part in parts}.__contains__)
    return unwritten(one)


def unwritten(one: Pass) -> pa.Table:
    written = read_rows(one.folder, IMAGES)["image_id"]
    return one.listing.filter(pc.invert(pc.is_in(one.listing["image_id"], value_set=written.combine_chunks())))


def count_images(one: Pass) -> dict[str, Any]:
    """Listed, extracted, rejected, and the rejected by reason. Raises TableError unless each image stands once."""
    extracted = read_rows(one.folder, IMAGES)["image_id"]
    rejected = read_rows(one.rejects, REJECTS, f"{one.name}@")
    written = pa.chunked_array([*extracted.chunks, *rejected["image_id"].chunks], pa.string())
    listed = one.listing["image_id"].combine_chunks()
    every = len(written) == len(listed) == pc.count_distinct(written).as_py()
    if not every or not pc.all(pc.is_in(written, value_set=listed)).as_py():
        raise TableError(
            f"{one.folder}: {len(one.listing)} images listed, {len(extracted)} extracted and {len(rejected)} rejected; "
            "each must stand there once. Use --overwrite to make the table anew"
        )
    reasons = [reason.partition(":")[0] for reason in rejected["reason"].to_pylist()]
    return {
        "listed": len(one.listing),
        "extracted": len(extracted),
        "rejected": len(rejected),
        "reasons": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
    }
