"""Make the table of a split's images, or find it finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import ray

from jobs.cluster.in_turn import answer, in_turn
from jobs.cluster.progress import Progress
from jobs.cluster.runs import Run, say
from jobs.listing.tasks import (
    IDS,
    Arranged,
    Doubles,
    Piece,
    Unit,
    UnitListed,
    compare_all,
    compare_bucket,
    deal,
    keep_order,
    list_unit,
    mix_all,
    mix_bucket,
)
from lib.errors import ManifestMismatch
from lib.experiment.layout import manifest_in
from lib.images.listing import find_sources, judge_listed, raise_for_doubles
from lib.images.mixing import buckets_for
from lib.images.schemas import LISTING
from lib.images.set_classes import listed_classes
from lib.images.sources import Sources
from lib.images.summaries import Summary, together
from lib.images.tables import ListingTable, parts_for
from lib.storage.files import delete, folders_in, is_file, write_json
from lib.storage.manifests import Artifact, differences, digest, read_record
from lib.storage.uris import join_uri

UNITS = 64  # tasks that list a split, if it has so many sources
SOURCES = 16  # that one task lists, at most


def list_splits(run: Run) -> dict[str, ListingTable]:
    """Return the tables of all splits' images. What is missing is made; what changed is refused.

    In one run they are looked for once: what the stages before know, the later ones need not ask again.
    """
    if not run.listed:
        images = run.experiment.images
        run.listed.update({split: list_split(run, split, listed_classes(images, split)) for split in images.splits})
        delete(run.files.unfinished)
    return run.listed


def list_split(run: Run, split: str, classes: list[str] | None) -> ListingTable:
    """Return the table of a split's images.

    Shards, Parquet files and listings of remote images are told apart by their own sizes and times. Folders, and local
    files that a listing names, are looked through in each run, so that no image changes unnoticed. Raises ListingError
    if something is wrong with the images, ManifestMismatch if the table was made from others.
    """
    found = find_sources(run.experiment.images.split(split), classes)
    if found.numbered:
        say("prepare", f"{split}: its {found.numbered} class folders are numbers, and are counted as such")
    described = describe(found, classes)
    table = ListingTable.open(run.files.images(split))
    if table is not None and not table.manifest["local_files"]:
        known = table.made_of() | {"image_files": of_sources(found), "rows": table.rows}
        same = artifact_of(run, split, described | known)
        unchanged = differences(table.manifest["made_from"], same.made_from) == []
        if unchanged and table.manifest["limit"] == run.experiment.limit:
            say("prepare", f"{split}: {table.rows:,} images are listed, skipped")
            return table
        if found.keeps_order:
            same.begin(replaces(run, split))  # refuses others before they are read
    return make(run, split, found, described)


def replaces(run: Run, split: str) -> bool:
    """Return whether a finished listing may be replaced by another: if the run overwrites, or no features are there."""
    return run.overwrite or not folders_in(run.files.features(split))


def describe(found: Sources, classes: list[str] | None) -> dict[str, Any]:
    """Return what a listing is made from besides the images, as its manifest records it."""
    split = found.split
    return {
        "location": split.location,
        "format": found.kind,
        "base": split.base,
        "columns": [split.image_column, split.id_column, split.label_column],
        "classes": None if classes is None else digest(classes),
    }


def artifact_of(run: Run, split: str, made_from: dict[str, Any]) -> Artifact:
    """Return the table of a split's images."""
    folder = run.files.images(split)
    return Artifact(manifest_in(folder), (folder,), made_from)


def of_sources(found: Sources) -> str:
    """Return a digest of the sources' own names, sizes and versions."""
    return digest([[one.file.path, one.file.size, one.file.version, one.first, one.end] for one in found.sources])


def make(run: Run, split: str, found: Sources, described: dict[str, Any]) -> ListingTable:
    """List a split's sources, and arrange the images in its table, unless a finished table holds the same.

    What a run before has listed of shards and Parquet files stands in the folder `work`, and is not read again.
    """
    work, folder = run.files.unfinished_images(split), run.files.images(split)
    record = join_uri(work, "started.json")
    limit = run.experiment.limit
    started = {"made_from": described | {"image_files": of_sources(found)}}
    if not found.keeps_order or not is_file(record) or read_record(record) != started["made_from"]:
        delete(work)
        write_json(record, started)
    units, summary = list_units(split, found, limit, work)
    judge_listed(found, summary.rows, summary.passed_over)
    local_files = summary.versioned or found.kind == "tree"
    files = summary.files if local_files else of_sources(found)
    pieces = limited(units, limit)
    rows = sum(piece.rows for piece in pieces)
    made_from = described | {"images": summary.images, "image_files": files, "rows": rows}
    artifact = artifact_of(run, split, made_from)
    finished = is_file(artifact.manifest)
    if finished and not compare_with_finished(artifact, replaces(run, split), work):
        delete(work)
        table = ListingTable.load(folder)
        say("prepare", f"{split}: {table.rows:,} images are listed, skipped")
        return table
    artifact.begin(overwrite=True)  # nothing was made from an unfinished table
    arranged = arrange(found, pieces, folder, work)
    labels = [one.largest for one in arranged if one.largest is not None]
    artifact.finish(
        rows,
        LISTING,
        part_rows=[count for one in arranged for count in one.part_rows],
        images=summary.images,
        image_files=files,
        labelled=sum(one.labelled for one in arranged),
        largest_label=max(labels, default=None),
        classes=None if found.classes is None else list(found.classes),
        folder_labels=None if found.folder_labels is None else list(found.folder_labels.values()),
        local_files=local_files,
        limit=limit,
    )
    delete(work)
    say("prepare", f"{split}: {rows:,} images are listed")
    return ListingTable.load(folder)


def compare_with_finished(artifact: Artifact, overwrite: bool, work: str) -> bool:
    """Return whether a table is to be made in place of the finished one. Raises ManifestMismatch."""
    try:
        return artifact.begin(overwrite)
    except ManifestMismatch:
        delete(work)
        raise


def list_units(split: str, found: Sources, limit: int | None, work: str) -> tuple[list[UnitListed], Summary]:
    """List the sources, in tasks of several, until there are as many images as the limit allows.

    Return the units, and what is known of the images of the sources that count.
    """
    step = min(SOURCES, max(1, -(-len(found.sources) // UNITS)))
    cut = [found.sources[start : start + step] for start in range(0, len(found.sources), step)]
    units = [Unit(number, sources) for number, sources in enumerate(cut)]
    shared = ray.put(replace(found, sources=()))
    listed: list[UnitListed] = []
    summaries: list[Summary] = []
    rows = 0
    with Progress("prepare", f"parts of {split}", len(units), lambda: len(listed)):
        answers = in_turn(lambda unit: list_unit.remote(shared, unit, work), units)
        for one in answers:
            listed.append(one)
            for summary in one.summaries:
                if limit is None or rows < limit:
                    summaries.append(summary)
                    rows += summary.rows
            if limit is not None and rows >= limit:
                answers.close()
                break
    return listed, together(summaries)


def limited(units: Sequence[UnitListed], limit: int | None) -> list[Piece]:
    """Return the pieces that hold the first `limit` images."""
    left = float("inf") if limit is None else limit
    found = []
    for piece in (piece for unit in units for piece in unit.pieces):
        rows = int(min(piece.rows, left))
        left -= rows
        if rows:
            found.append(replace(piece, rows=rows))
    return found


def arrange(found: Sources, pieces: list[Piece], folder: str, work: str) -> list[Arranged]:
    """Write the table's parts. Raises ListingError if an id stands more than once."""
    rows = sum(piece.rows for piece in pieces)
    buckets = buckets_for(rows)
    if found.keeps_order:
        raise_for_doubles(found, *compare(pieces, buckets, work))
        firsts = np.cumsum([0, *(parts_for(piece.rows) for piece in pieces)])
        placed = list(zip(pieces, firsts.tolist(), strict=False))
        return list(in_turn(lambda one: keep_order.remote(one[0], folder, one[1]), placed))
    if buckets == 1:
        arranged = [answer(mix_all.remote(pieces, folder))]
    else:
        files, counts = deal_all(pieces, buckets, work, LISTING.names)
        firsts = np.cumsum([0, *(parts_for(count) for count in counts)])
        shared = ray.put(files)
        arranged = list(
            in_turn(lambda k: mix_bucket.remote(shared, k, buckets, folder, int(firsts[k])), range(buckets))
        )
    raise_for_doubles(found, *add_doubles([one.doubles for one in arranged]))
    return arranged


def compare(pieces: list[Piece], buckets: int, work: str) -> Doubles:
    """Return how many ids stand more than once, and some of them."""
    if buckets == 1:
        found: Doubles = answer(compare_all.remote(pieces))
        return found
    shared = ray.put(deal_all(pieces, buckets, work, IDS)[0])
    return add_doubles(list(in_turn(lambda k: compare_bucket.remote(shared, k), range(buckets))))


def deal_all(pieces: list[Piece], buckets: int, work: str, columns: Sequence[str]) -> tuple[list[str], list[int]]:
    """Deal all images into buckets. Return the files that hold them, and the number of images in each bucket."""
    files = [join_uri(work, f"dealt-{number:07d}.arrow") for number in range(len(pieces))]
    counts = np.zeros(buckets, np.int64)
    for one in in_turn(lambda place: deal.remote(pieces[place], files[place], buckets, columns), range(len(pieces))):
        counts += one
    return files, counts.tolist()


def add_doubles(found: Sequence[Doubles]) -> Doubles:
    """Return how many ids stand more than once in all buckets, and some of them."""
    return sum(count for count, _ in found), [one for _, few in found for one in few][:3]
