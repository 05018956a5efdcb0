"""Feature tables that are still to be made or finished: what is missing of them, and how they are completed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray

from jobs.cluster.capacity import WRITE_CPUS, Capacity
from jobs.cluster.progress import Progress
from jobs.cluster.runs import Run, say
from jobs.extraction.checks import check_rejected
from jobs.extraction.flow import COMPUTED, Flow, machines_there
from jobs.extraction.listed import ListedSplits
from jobs.extraction.parts import Share, part_size, pieces
from jobs.extraction.passes import Pass
from jobs.extraction.sink import TableSink
from jobs.extraction.stream import stream_features
from jobs.extraction.tally import read_tally, start_tally
from jobs.extraction.written_parts import count_images, remove_incomplete_parts
from lib.experiment.layout import manifest_in, tally_in
from lib.experiment.settings import Experiment, ExtractSettings
from lib.features.tables import FeatureTables, describe_parts
from lib.networks.descriptions import Description
from lib.storage.files import bytes_below, delete
from lib.storage.manifests import Artifact, State, record_matches
from lib.storage.parquet import read_schema
from lib.storage.parts import list_parts

ROUND = 2**14  # parts that one stream of Ray Data computes, at most


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
    run: Run, split: str, images: ListedSplits, described: dict[str, Description], tables: FeatureTables
) -> Plan:
    """Return what is missing of a split's features, beside the finished `tables`. Nothing is changed.

    Raises ManifestMismatch if a table was made from something else, unless the run overwrites.
    """
    made_of = images.tables[split].made_of()
    missing, stale = list[str](), dict[str, None]()
    for name in described:
        if name not in tables.tables:
            missing.append(name)
            continue
        table = tables.table(name)
        wanted = made_from(run.experiment, made_of, {name: described[name]})
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
        made_from=made_from(run.experiment, made_of, {network: described[network] for network in missing}),
    )
    start = images.start(split)
    share = Share(start, start + images.tables[split].rows, part_size(images.rows, run.experiment.extract))
    rejects, computed = run.files.rejects(split), tally_in(folder)
    made = Pass(split, tuple(missing), images, share, folder, rejects, computed, artifact)
    return Plan(made, artifact.look(run.overwrite), tuple(stale))


def compute_passes(run: Run, passes: list[Pass], described: dict[str, Description]) -> None:
    """Write what is missing of these splits' tables, which have the same networks, in streams of images.

    One stream has ROUND parts at most, since Ray Data's driver remembers something of each block until a stream ends.
    """
    ranges: list[tuple[int, int]] = []
    for plan in passes:
        parts = remove_incomplete_parts(plan)
        theirs = [plan.share.rows_of(part) for part in parts]
        rows = sum(end - first for first, end in theirs)
        done = plan.rows - rows
        say("extract", f"{plan.split}: {rows} images to do" + (f", {done} are already done" if done else ""))
        ranges += theirs
    total = sum(end - first for first, end in ranges)
    if not total:
        return
    experiment, first = run.experiment, passes[0]
    networks = {network: experiment.networks[network] for network in first.networks}
    tally = start_tally({plan.split: plan.computed for plan in passes})
    folders = {plan.split: (plan.folder, plan.rejects) for plan in passes}
    sink = TableSink(folders, first.name, first.share.size, tally)
    begin = time.monotonic()
    with image_progress(experiment.extract, passes, total, tally):
        for start in range(0, len(ranges), ROUND):
            work = pieces(ranges[start : start + ROUND], first.share.size, experiment.extract.batch_size)
            stream = stream_features(
                first.images, work, networks, described, experiment.extract, experiment.images.max_pixels, tally
            )
            stream.write_datasink(sink, ray_remote_args={"num_cpus": WRITE_CPUS})
    seconds = time.monotonic() - begin
    say("extract", f"{total:,} images in {seconds:.1f} s, {total / seconds:.0f} images/s")
    ray.get(tally.write.remote())


def image_progress(
    settings: ExtractSettings, passes: list[Pass], remaining: int, tally: ray.actor.ActorHandle
) -> Progress:
    """Return what shows how many of all images are computed, and what the `remaining` ones wait for."""
    done = sum(plan.rows for plan in passes) - remaining
    machines = partial(machines_there, settings, Capacity.now().gpus > 0)
    flow = Flow(remaining, settings.batch_size, passes[0].share.size, machines)
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
    counts, few = count_images(plan)
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


def made_from(experiment: Experiment, made_of: dict[str, str], described: dict[str, Description]) -> dict[str, Any]:
    """Return what a feature table depends on, as its manifest records it."""
    extract = experiment.extract
    return {
        **made_of,
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
