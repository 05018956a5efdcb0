"""The parts of an unfinished feature table that are written: which are whole, and what they add up to."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray

from jobs.cluster.capacity import READ_CPUS
from jobs.cluster.damage import find_in_parts, say_damage
from jobs.cluster.in_turn import in_turn
from jobs.cluster.runs import say
from jobs.extraction.passes import Pass
from lib.errors import TableError
from lib.evaluation.results import ImageCounts
from lib.features.schemas import IMAGES, REJECTS
from lib.storage.files import delete, delete_files, for_all
from lib.storage.parquet import parquet_files
from lib.storage.parts import Part, read_footer
from lib.storage.uris import resolve, uri_beside

GROUP = 256  # parts that one task looks at


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
    damaged = find_in_parts(folder, parts)
    say_damage("extract", damaged.values())
    for part in damaged:
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
            _path(folder, name),
            columns=schema.names,
            filesystem=resolve(folder)[0],
            use_threads=False,
            page_checksum_verification=True,
        ).cast(schema)
    except FileNotFoundError:
        return schema.empty_table()


def _path(folder: str, name: str) -> str:
    return f"{resolve(folder)[1]}/{name}"
