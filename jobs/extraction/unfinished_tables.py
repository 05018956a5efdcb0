"""Feature tables that are still to be made or finished: what is missing of them, and how they are completed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from jobs.cluster.capacity import WRITE_CPUS, Capacity
from jobs.cluster.damage import find_in_parts
from jobs.cluster.progress import Progress
from jobs.cluster.runs import Run, say
from jobs.extraction.checks import check_rejected
from jobs.extraction.flow import COMPUTED, Flow, machines_there
from jobs.extraction.parts import blocks, part_name, part_size
from jobs.extraction.sink import TableSink
from jobs.extraction.stream import stream_features
from jobs.extraction.tally import read_tally, start_tally
from lib.errors import TableError
from lib.evaluation.results import ImageCounts
from lib.experiment.layout import manifest_in, pass_name, tally_in
from lib.experiment.settings import Experiment, ExtractSettings
from lib.features.schemas import IMAGES, REJECTS
from lib.features.tables import FeatureTables, describe_parts
from lib.images.versions import files_digest
from lib.networks.descriptions import Description
from lib.storage.files import bytes_below, delete, delete_files
from lib.storage.manifests import Artifact, State, digest, record_matches
from lib.storage.parquet import parquet_files, read_rows, read_schema
from lib.storage.parts import Part, list_parts
from lib.storage.uris import uri_beside


def number_rows(listings: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """Mix each split's images, and number them in a column `row` that counts through all splits.

    The tables' parts are cut by this number, so that each part is a sample of all classes, as streamed fits want their
    rows. Images in Parquet files keep their order, since their row groups are read whole. The order is the same in
    every run, whatever its seed.
    """
    ends = np.cumsum([len(listing) for listing in listings.values()])
    return {
        split: mixed(listing).append_column("row", pa.array(np.arange(end - len(listing), end)))
        for (split, listing), end in zip(listings.items(), ends, strict=True)
    }


def mixed(listing: pa.Table) -> pa.Table:
    """Return the images in random order, unless they lie in row groups of Parquet files."""
    in_row_groups = listing["column"].null_count < len(listing)
    return listing if in_row_groups else listing.take(np.random.default_rng(0).permutation(len(listing)))


@dataclass(frozen=True)
class Pass:
    """One split's feature table that is still to be made or finished, with a column for each of `networks`."""

    split: str
    networks: tuple[str, ...]
    listing: pa.Table  # all images
    folder: str
    rejects: str
    computed: str  # the tally's file: how many images were computed
    size: int  # rows in a part
    artifact: Artifact

    @property
    def name(self) -> str:
        """The pass as its folder and files are named."""
        return pass_name(self.networks)


@dataclass(frozen=True)
class Plan:
    """What a run has to do for one split: nothing is changed until `start` is called."""

    made: Pass | None  # None if all features are finished
    state: State
    stale: tuple[str, ...]  # folders of tables that were made from something else, and that the run overwrites

    def start(self) -> Pass | None:
        """Delete what is stale, begin the table, and return what is missing of it."""
        for folder in self.stale:
            delete(folder)
        if self.made is not None:
            self.made.artifact.start(self.state)
        return self.made


def plan_pass(
    run: Run, split: str, listings: dict[str, pa.Table], described: dict[str, Description], tables: FeatureTables
) -> Plan:
    """Return what is missing of a split's features, beside the finished `tables`. Nothing is changed.

    Raises ManifestMismatch if a table was made from something else, unless the run overwrites.
    """
    listing = listings[split]
    images = describe_images(listing)
    missing, stale = list[str](), dict[str, None]()
    for name in described:
        if name not in tables.tables:
            missing.append(name)
            continue
        table = tables.table(name)
        wanted = made_from(run.experiment, images, {name: described[name]})
        if not record_matches(manifest_in(table.folder), table.made_from(name), wanted, run.overwrite):
            missing.append(name)
            stale[table.folder] = None
    missing += [name for name in described if name not in missing and tables.table(name).folder in stale]
    missing.sort(key=list(described).index)
    if not missing:
        return Plan(None, "finished", ())
    folder = run.files.feature_table(split, tuple(missing))
    artifact = Artifact(
        manifest=manifest_in(folder),
        data=(folder,),
        made_from=made_from(run.experiment, images, {network: described[network] for network in missing}),
    )
    size = part_size(sum(map(len, listings.values())), run.experiment.extract)
    rejects, computed = run.files.rejects(split), tally_in(folder)
    made = Pass(split, tuple(missing), listing, folder, rejects, computed, size, artifact)
    return Plan(made, artifact.look(run.overwrite), tuple(stale))


def compute_passes(run: Run, passes: list[Pass], described: dict[str, Description]) -> None:
    """Write what is missing of these splits' tables, which have the same networks, in one stream of images."""
    remaining = []
    for plan in passes:
        rows = remove_incomplete_parts(plan)
        done = len(plan.listing) - len(rows)
        say("extract", f"{plan.split}: {len(rows)} images to do" + (f", {done} are already done" if done else ""))
        remaining.append(rows.append_column("split", pa.array([plan.split] * len(rows), pa.string())))
    listing = pa.concat_tables(remaining)
    if not len(listing):
        return
    experiment = run.experiment
    work = blocks(listing, passes[0].size, experiment.extract.batch_size)
    networks = {network: experiment.networks[network] for network in passes[0].networks}
    tally = start_tally({plan.split: plan.computed for plan in passes})
    folders = {plan.split: (plan.folder, plan.rejects) for plan in passes}
    sink = TableSink(folders, passes[0].name, passes[0].size, tally)
    rows = stream_features(work, networks, described, experiment.extract, experiment.images.max_pixels, tally)
    begin = time.monotonic()
    with image_progress(experiment.extract, passes, len(listing), tally):
        rows.write_datasink(sink, ray_remote_args={"num_cpus": WRITE_CPUS})
    seconds = time.monotonic() - begin
    say("extract", f"{len(listing):,} images in {seconds:.1f} s, {len(listing) / seconds:.0f} images/s")
    ray.get(tally.write.remote())


def image_progress(
    settings: ExtractSettings, passes: list[Pass], remaining: int, tally: ray.actor.ActorHandle
) -> Progress:
    """Return what shows how many of all images are computed, and what the `remaining` ones wait for."""
    done = sum(len(plan.listing) for plan in passes) - remaining
    machines = partial(machines_there, settings, Capacity.now().gpus > 0)
    flow = Flow(remaining, settings.batch_size, passes[0].size, machines)
    return Progress(
        *("extract", "images", done + remaining),
        lambda: done + passed(tally).get(COMPUTED, 0),
        start=done,
        waits=lambda: flow.waits(passed(tally)),
    )


def passed(tally: ray.actor.ActorHandle) -> dict[str, int]:
    """Ask the tally what passed each step since it started."""
    answer: Any = ray.get(tally.flow.remote())
    return dict(answer)


def finish_pass(run: Run, plan: Pass) -> None:
    """Count the images, and write the table's manifest. Raises RunError if too many images are unreadable."""
    counts = count_images(plan)
    unread = read_rows(plan.rejects, REJECTS, f"{plan.name}@").slice(0, 5).to_pylist()
    few = [f"{row['image_id']}: {row['reason']}" for row in unread]
    allowed = run.experiment.images.max_rejected
    check_rejected(f"images.{plan.split}", counts["rejected"], counts["listed"], allowed, few)
    recomputed = max(0, read_tally(plan.computed) - counts["listed"])
    schema = read_schema(plan.folder)
    sizes = {name: schema.field(name).type.list_size for name in plan.networks}
    described = describe_parts(plan.folder, list_parts(plan.folder), sizes)
    plan.artifact.finish(counts["extracted"], schema, images=counts, recomputed=recomputed, **described)
    again = f"; {recomputed} computed again" if recomputed else ""
    summary = f"{counts['extracted']} extracted, {counts['rejected']} rejected of {counts['listed']}"
    say("extract", f"{plan.split}: {summary}, {readable_bytes(bytes_below(plan.folder))}{again}")


def readable_bytes(count: int) -> str:
    """Return a number of bytes in the unit that reads best."""
    places = [(10**9, "GB"), (10**6, "MB"), (10**3, "KB")]
    size, unit = next(((size, unit) for size, unit in places if count >= size), (1, "bytes"))
    return f"{count / size:,.{0 if size == 1 else 1}f} {unit}"


def describe_images(listing: pa.Table) -> dict[str, str]:
    """Return digests of the images' ids and labels, and of the files that they lie in."""
    return {
        "images": digest([listing["image_id"].to_pylist(), listing["label"].to_pylist()]),
        "image_files": files_digest(listing),
    }


def made_from(experiment: Experiment, images: dict[str, str], described: dict[str, Description]) -> dict[str, Any]:
    """Return what a feature table depends on, as its manifest records it."""
    extract = experiment.extract
    return {
        **images,
        "precision": extract.precision,
        "tf32": extract.tf32,
        "compile": extract.compile,
        "dtype": extract.dtype,
        "max_pixels": experiment.images.max_pixels,
        "networks": {
            name: {"weights": network.fingerprint, "preprocessing": network.preprocessing, **network.features}
            for name, network in described.items()
        },
    }


def remove_incomplete_parts(plan: Pass) -> pa.Table:
    """Return the images that no earlier run wrote, after deleting the parts that lack images.

    A part is one file, so it is made anew as a whole. Parts with rejected images are made anew, too: their images may
    have been mended.
    """
    delete_damaged(plan.folder)
    delete_files(plan.rejects, lambda name: name.startswith(f"{plan.name}@"))
    parts = pc.unique(pc.divide(unwritten(plan)["row"], plan.size)).to_pylist()
    incomplete = {part_name(plan.name, plan.size, part) for part in parts}
    delete_files(plan.folder, lambda name: name in incomplete)
    return unwritten(plan)


def delete_damaged(folder: str) -> None:
    """Delete the files of an unfinished table that are not what was written, as after a loss of power."""
    parts = [Part(path) for path in parquet_files(folder)[1]]
    for part, error in find_in_parts(folder, parts).items():
        say("extract", f"{error.uri} is made anew: {error.wrong}")
        delete(uri_beside(folder, part.path))


def unwritten(plan: Pass) -> pa.Table:
    """Return the listed images that have no features yet."""
    written = read_rows(plan.folder, IMAGES)["image_id"]
    return plan.listing.filter(pc.invert(pc.is_in(plan.listing["image_id"], value_set=written.combine_chunks())))


def count_images(plan: Pass) -> ImageCounts:
    """Count the images listed, extracted and rejected. Raises TableError unless each listed image stands once."""
    extracted = read_rows(plan.folder, IMAGES)["image_id"]
    rejected = read_rows(plan.rejects, REJECTS, f"{plan.name}@")
    written = pa.chunked_array([*extracted.chunks, *rejected["image_id"].chunks], pa.string())
    listed = plan.listing["image_id"].combine_chunks()
    every = len(written) == len(listed) == pc.count_distinct(written).as_py()
    if not every or not pc.all(pc.is_in(written, value_set=listed)).as_py():
        raise TableError(
            f"{plan.folder}: {len(listed)} images listed, {len(extracted)} extracted and {len(rejected)} rejected; "
            "each must stand there once. Use --overwrite to make the table anew"
        )
    reasons = [reason.partition(":")[0] for reason in rejected["reason"].to_pylist()]
    return {
        "listed": len(listed),
        "extracted": len(extracted),
        "rejected": len(rejected),
        "reasons": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
    }
