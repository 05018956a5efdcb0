"""Features, maps and classifiers -> prediction tables: each network's own classes, and all mapped ones.

python -m jobs.predict lite
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, TypeVar

import ray

from jobs.cluster.capacity import Capacity
from jobs.cluster.commands import main
from jobs.cluster.damage import search
from jobs.cluster.memory import FILL, memory_of_a_task
from jobs.cluster.progress import wait_for
from jobs.cluster.runs import Run, say
from jobs.evaluation.compositions import Composition, MapRecords, Written
from jobs.evaluation.set_labels import answers_among
from lib.errors import ManifestMismatch
from lib.evaluation.belonging import check_weights
from lib.evaluation.prediction_tables import FILE_ROWS, SLICE
from lib.experiment.layout import Layout, manifest_in, map_name
from lib.experiment.variants import MapKey, Variant, full_variants, tiles, variants
from lib.features.chunks import Chunk, split_into_chunks
from lib.features.tables import FeatureTables
from lib.networks.classifier_records import classifier_digest
from lib.storage.files import delete_files, folders_in, for_all
from lib.storage.manifests import Artifact, begin_all, digest, read_manifests
from lib.storage.records import FileRecord, records_in

SIDE = 8  # networks that give features, and networks that take them, in one task: their features are read once
COPIES = 3  # of a task's features in memory

Manifest = dict[str, Any]
Value = TypeVar("Value")


def predict(run: Run) -> int:
    """Make the missing prediction tables, and return how many tables that were.

    They hold nothing of their own, so that those of other maps are made anew.
    """
    experiment = run.experiment
    tables = {split: FeatureTables.open(run.files.features(split)) for split in experiment.images.judged}
    found = [Composition(name, name) for name in experiment.networks]
    found += [Composition(*pair, tuple(full_variants(experiment, *pair))) for pair in experiment.pairs()]
    train = FeatureTables.open(run.files.features("train"))
    check_weights(run.files, list(run.experiment.networks), [train, *tables.values()])
    manifests = read_map_manifests(run, found)
    check_maps(run, train, manifests)
    manifests = {
        replace(item, split=split): theirs
        for split in tables
        for item, theirs in manifests.items()
        if split == "val" or item.source == item.target or experiment.networks[item.target].classifies
    }
    described = {item: describe_maps(theirs) for item, theirs in manifests.items()}
    others = {
        name: classifier_digest(run.files, name)
        for name, network in experiment.networks.items()
        if network.classifier != "own"
    }
    among = {split: answers_among(run, split) for split in tables}
    artifacts = {
        item: artifact(run, tables[item.split], item, described[item], others, among[item.split]) for item in manifests
    }
    missing = begin_all(artifacts, overwrite=True, search=search(run, "predict"))
    say_leftovers(run)
    if not missing:
        say("predict", "all predictions are finished, skipped")
        return 0
    for_all(partial(delete_parts, run), list(missing))
    records = {item: map_records(run, item, manifests[item]) for item in missing}
    rows: Counter[Composition] = Counter()
    files: dict[Composition, dict[str, FileRecord]] = {item: {} for item in missing}
    tasks = [
        task
        for split in tables
        for task in start_tasks(tables[split], of_split(records, split), run.files, among[split])
    ]
    for counted, written in wait_for("predict", "parts", tasks):
        rows.update(counted)
        for item, record in written.items():
            files[item] |= record

    def finish(item: Composition) -> None:
        """Write one table's manifest."""
        missing[item].finish(rows[item], item.schema(), files[item], maps=described[item])

    for_all(finish, list(missing))
    for split in tables:
        counts = of_split(rows, split)
        if counts:
            say("predict", f"{split}: {len(counts)} compositions of {max(counts.values())} images")
    return len(missing)


def of_split(items: Mapping[Composition, Value], split: str) -> dict[Composition, Value]:
    """Return what belongs to the compositions of one split."""
    return {item: value for item, value in items.items() if item.split == split}


def delete_parts(run: Run, item: Composition) -> None:
    """Delete what an interrupted run left of a prediction table."""
    delete_files(run.files.predictions(item.source, item.target, item.split), lambda file: file.endswith(".parquet"))


def read_map_manifests(run: Run, compositions: Iterable[Composition]) -> dict[Composition, dict[Variant, Manifest]]:
    """Return the manifests of each composition's maps."""
    named = {
        (item, variant): run.files.map_manifest(MapKey(item.source, item.target, variant).name)
        for item in compositions
        for variant in item.variants
    }
    found: dict[Composition, dict[Variant, Manifest]] = {item: {} for item in compositions}
    for (item, variant), manifest in read_manifests(named).items():
        found[item][variant] = manifest
    return found


def check_maps(run: Run, train: FeatureTables, manifests: Mapping[Composition, Mapping[Variant, Manifest]]) -> None:
    """Raise ManifestMismatch if a map was fitted to other features than those that lie in the run's folder."""
    digests = {network: train.digest(network) for network in run.experiment.networks}
    for item, theirs in manifests.items():
        for variant, manifest in theirs.items():
            made_from = manifest["made_from"]
            for side, network in (("source", item.source), ("target", item.target)):
                if side in made_from and made_from[side] != digests[network]:
                    name = MapKey(item.source, item.target, variant).name
                    raise ManifestMismatch(
                        f"{run.files.map(name)} was fitted to other features of {network!r} than those under "
                        f"{train.folder}: run `python -m jobs.fit` first, with --overwrite to fit it anew"
                    )


def describe_maps(manifests: Mapping[Variant, Manifest]) -> dict[str, Any]:
    """Return by column what the manifests of a composition's maps say that results need."""
    return {
        variant.column: {
            "map": digest(manifest["made_from"]),
            "fit_error": manifest.get("fit_error"),
            "training_rows": manifest.get("training_rows"),
            "curve": manifest.get("curve"),
        }
        for variant, manifest in manifests.items()
    }


def map_records(run: Run, item: Composition, manifests: Mapping[Variant, Manifest]) -> MapRecords:
    """Return for each of a composition's maps its file and what is recorded of it."""
    found: MapRecords = {}
    for variant, manifest in manifests.items():
        uri = run.files.map(MapKey(item.source, item.target, variant).name)
        found[variant.column] = (uri, records_in(run.files.maps, manifest).get(uri))
    return found


def artifact(
    run: Run,
    tables: FeatureTables,
    item: Composition,
    maps: dict[str, Any],
    classifiers: Mapping[str, str | None],
    among: list[int] | None,
) -> Artifact:
    """Return a prediction table's manifest, its folder, and what it is made from.

    `classifiers` has the digests of those that are not a network's own, which weights tell. `among` are the labels of
    the classes that answers are chosen from, None for all.
    """
    made_from: dict[str, Any] = {
        "source": tables.digest(item.source),
        "target": tables.digest(item.target),
        "maps": {column: described["map"] for column, described in maps.items()},
        **({} if among is None else {"among": among}),
    }
    if item.target in classifiers:
        made_from["classifier"] = classifiers[item.target]
    folder = run.files.predictions(item.source, item.target, item.split)
    return Artifact(manifest_in(folder), (folder,), made_from)


def start_tasks(
    tables: FeatureTables, missing: Mapping[Composition, MapRecords], files: Layout, among: list[int] | None
) -> list[ray.ObjectRef]:
    """Start the tasks that write these tables of one split: one for each tile of networks and chunk of rows."""
    if not missing:
        return []
    capacity = Capacity.now()
    resources = {"num_cpus": 1, "num_gpus": 1 if capacity.gpus else 0}
    at_once = capacity.gpus or max(1, int(capacity.cpus))
    room = FILL * ray.get(memory_of_a_task.options(**resources).remote(1, at_once))
    sources = list(dict.fromkeys(item.source for item in missing))
    targets = list(dict.fromkeys(item.target for item in missing))
    blocks = []
    for givers, takers in tiles(list(dict.fromkeys([*sources, *targets])), SIDE):
        block = {item: records for item, records in missing.items() if item.source in givers and item.target in takers}
        if block:
            blocks.append(block)
    started = []
    for block in blocks:
        networks = list(dict.fromkeys(chain.from_iterable((item.source, item.target) for item in block)))
        rows = int(room / (COPIES * 4 * sum(tables.sizes(networks).values())))
        share = -(-tables.rows(networks[0]) * len(blocks) // at_once)  # so that every CPU or GPU has work
        chunks = split_into_chunks(tables, networks, max(SLICE, min(rows, share, FILE_ROWS)))
        started += [
            judge.options(**resources).remote(files, block, number, chunk, among) for number, chunk in enumerate(chunks)
        ]
    return started


@ray.remote
def judge(
    files: Layout, compositions: dict[Composition, MapRecords], number: int, chunk: Chunk, among: list[int] | None
) -> Written:
    """Write one chunk's part of these prediction tables."""
    from jobs.evaluation import prediction_parts  # with torch, which the tasks alone need

    return prediction_parts.write_parts(files, compositions, number, chunk, among)


def say_leftovers(run: Run) -> None:
    """Say which folders an earlier version wrote that nothing reads any more: one for each kind of map."""
    sizes = FeatureTables.open(run.files.features("val")).sizes(list(run.experiment.networks))
    old = {
        map_name(source, target, variant.name)
        for source, target in run.experiment.pairs()
        for variant in variants(run.experiment, source, target, min(sizes[source], sizes[target]))
    }
    left = sorted(old & {path.rsplit("/", 1)[-1] for path in folders_in(run.files.all_predictions)})
    if left:
        say(
            "predict",
            f"{run.files.all_predictions} has {len(left)} of an earlier version's folders, such as {left[0]}: a pair "
            f"has one table now, with its maps as columns. Delete them, and the files {run.files.maps}/*.rank* and "
            "*rows*, unless fit.keep is true",
        )


if __name__ == "__main__":
    main(predict, __doc__)
