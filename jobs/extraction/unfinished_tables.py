"""Feature tables that are still to be made or finished: what is missing of them, and how they are completed."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray

from jobs.cluster.capacity import READ_CPUS, WRITE_CPUS, Capacity
from jobs.cluster.damage import find_in_parts
from jobs.cluster.in_turn import in_turn
from jobs.cluster.progress import Progress
from jobs.cluster.runs import Run, say
from jobs.extraction.checks import check_rejected
from jobs.extraction.flow import COMPUTED, Flow, machines_there
from jobs.extraction.listed import ListedSplits
from jobs.extraction.parts import Share, part_name, part_size, pieces
from jobs.extraction.sink import TableSink
from jobs.extraction.stream import stream_features
from jobs.extraction.tally import read_tally, start_tally
from lib.errors import TableError
from lib.evaluation.results import ImageCounts
from lib.experiment.layout import manifest_in, pass_name, tally_in
from lib.experiment.settings import Experiment, ExtractSettings
from lib.features.schemas import IMAGES, REJECTS
from lib.features.tables import FeatureTables, describe_parts
from lib.networks.descriptions import Description
from lib.storage.files import bytes_below, delete, delete_files, for_all
from lib.storage.manifests import Artifact, State, record_matches
from lib.storage.parquet import parquet_files, read_schema
from lib.storage.parts import Part, list_parts, read_footer
from lib.storage.uris import resolve, uri_beside

ROUND = 2**16  # parts that one stream of Ray Data computes, at most
GROUP = 256  # parts that one task looks at


@dataclass(frozen=True)
class Pass:
    """One split's feature table that is still to be made or finished, with a column for each of `networks`."""

    split: str
    networks: tuple[str, ...]
    images: ListedSplits  # of all splits
    share: Share  # the split's rows among them
    folder: str
    rejects: str
    computed: str  # the tally's file: how many images were computed
    artifact: Artifact

    @property
    def name(self) -> str:
        """The pass as its folder and files are named."""
        return pass_name(self.networks)

    @property
    def rows(self) -> int:
        """The number of the split's images."""
        return self.share.end - self.share.first

    def file(self, part: int) -> str:
        """Return the name of a part's file."""
        return part_name(self.name, self.share.size, part)


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
            name: {"weights": network.fingerprint, "preprocessing": network.preprocessing}
            for name, network in described.items()
        },
    }


def remove_incomplete_parts(plan: Pass) -> list[int]:
    """Return the parts that no earlier run wrote, after deleting what is there of them.

    A part is one file, so it is made anew as a whole. Parts with rejected images are made anew, too: their images may
    have been mended. So are the files of parts of another size, which other settings made.
    """
    delete_damaged(plan.folder)
    there = {os.path.basename(path) for path in parquet_files(plan.folder)[1]}
    rejects = {os.path.basename(path) for path in parquet_files(plan.rejects)[1]}
    written = [part for part in plan.share.parts if plan.file(part) in there and plan.file(part) not in rejects]
    groups = [written[start : start + GROUP] for start in range(0, len(written), GROUP)]
    shared = ray.put(plan)
    whole = {part for found in in_turn(lambda group: whole_parts.remote(shared, group), groups) for part in found}
    kept = {plan.file(part) for part in whole}
    others = sum(f"@{plan.share.size}-" not in name for name in there)
    if others:
        say("extract", f"{plan.split}: {others} files of parts of another size are made anew")
    delete_files(plan.rejects, lambda name: name.startswith(f"{plan.name}@"))
    delete_files(plan.folder, lambda name: name.endswith(".parquet") and name not in kept)
    return [part for part in plan.share.parts if part not in whole]


@ray.remote(num_cpus=READ_CPUS)
def whole_parts(plan: Pass, parts: list[int]) -> list[int]:
    """Return those of the parts whose files have as many rows as images are listed."""

    def whole(part: int) -> bool:
        """Return whether a part has all its images."""
        first, end = plan.share.rows_of(part)
        return bool(read_footer(plan.folder, Part(_path(plan.folder, plan.file(part)))).num_rows == end - first)

    return [part for part, is_whole in zip(parts, for_all(whole, parts), strict=True) if is_whole]


def delete_damaged(folder: str) -> None:
    """Delete the files of an unfinished table that are not what was written, as after a loss of power."""
    parts = [Part(path) for path in parquet_files(folder)[1]]
    for part, error in find_in_parts(folder, parts).items():
        say("extract", f"{error.uri} is made anew: {error.wrong}")
        delete(uri_beside(folder, part.path))


def count_images(plan: Pass) -> tuple[ImageCounts, list[str]]:
    """Count the images listed, extracted and rejected, and describe a few of the rejected ones.

    Raises TableError unless each listed image stands once.
    """
    there = {os.path.basename(path) for folder in (plan.folder, plan.rejects) for path in parquet_files(folder)[1]}
    parts = plan.share.parts
    shared = ray.put(plan)
    extracted, few = 0, list[str]()
    reasons, once = Counter[str](), True
    groups = [parts[start : start + GROUP] for start in range(0, len(parts), GROUP)]
    for counted in in_turn(lambda group: count_parts.remote(shared, list(group)), groups):
        extracted += counted.extracted
        reasons += counted.reasons
        once &= counted.once
        few += counted.few
    foreign = there - {plan.file(part) for part in parts} if once else set()
    if not once or any(name.startswith(f"{plan.name}@") for name in foreign):
        raise TableError(
            f"{plan.folder}: {plan.rows} images listed, {extracted} extracted and {reasons.total()} rejected; each "
            "must stand there once. Use --overwrite to make the table anew"
        )
    counts: ImageCounts = {
        "listed": plan.rows,
        "extracted": extracted,
        "rejected": reasons.total(),
        "reasons": dict(sorted(reasons.items())),
    }
    return counts, few[:5]


@dataclass(frozen=True)
class Counted:
    """What is counted of some parts."""

    extracted: int
    reasons: Counter[str]  # of the rejected images
    once: bool  # whether each listed image stands once
    few: list[str]  # some rejected images


@ray.remote(num_cpus=READ_CPUS)
def count_parts(plan: Pass, parts: list[int]) -> Counted:
    """Count the images of some parts, and compare their ids with the listing."""
    extracted, reasons, once, few = 0, Counter[str](), True, list[str]()
    table, start = plan.images.tables[plan.split], plan.images.start(plan.split)
    for part, (read, rejects) in zip(parts, for_all(partial(_ids, plan), parts), strict=True):
        first, end = plan.share.rows_of(part)
        listed = table.read(first - start, end - start, ["image_id"])["image_id"].combine_chunks()
        written = pa.concat_arrays([read, rejects["image_id"].combine_chunks()])
        extracted += len(read)
        reasons.update(reason.partition(":")[0] for reason in rejects["reason"].to_pylist())
        few += [f"{row['image_id']}: {row['reason']}" for row in rejects.slice(0, 5).to_pylist()]
        once = once and len(written) == len(listed) and pc.all(pc.is_in(written, value_set=listed)).as_py() is not False
        once = once and pc.count_distinct(written).as_py() == len(listed)
    return Counted(extracted, reasons, once, few[:5])


def _ids(plan: Pass, part: int) -> tuple[pa.Array, pa.Table]:
    """Return the ids of a part's images with features, and its rejected images."""
    read = _part(plan.folder, plan.file(part), IMAGES)["image_id"].combine_chunks()
    return read, _part(plan.rejects, plan.file(part), REJECTS)


def _part(folder: str, name: str, schema: pa.Schema) -> pa.Table:
    """Return columns of a part's file; no rows if there is no such file."""
    try:
        return pq.read_table(
            _path(folder, name), columns=schema.names, filesystem=resolve(folder)[0], use_threads=False
        ).cast(schema)
    except FileNotFoundError:
        return schema.empty_table()


def _path(folder: str, name: str) -> str:
    return f"{resolve(folder)[1]}/{name}"
