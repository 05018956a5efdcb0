"""Prediction tables -> results.json: a Ray task for each target joins them on image_id and counts.

Beside results.json stand tables: maps.parquet (every map), classes/ (every class), examples.parquet.

python -m jobs.evaluate lite
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from jobs.cluster.commands import main
from jobs.cluster.damage import search
from jobs.cluster.in_turn import in_turn
from jobs.cluster.progress import wait_for
from jobs.cluster.runs import Run, say
from jobs.evaluation.mapped_features import measure_mapped
from jobs.evaluation.measures import measure_features
from jobs.evaluation.shared_images import count_shared
from lib.evaluation.belonging import check_predictions, check_weights
from lib.evaluation.cka import Directions
from lib.evaluation.classes import count_by_class
from lib.evaluation.examples import pick_examples, thumbnails, thumbnails_table
from lib.evaluation.joining import Reference, judge_pair
from lib.evaluation.judging import (
    Mapped,
    correct_mappings,
    correct_maps,
    counted,
    evaluate_map,
    main_mapping,
    network_results,
)
from lib.evaluation.point_results import add_points, add_variances
from lib.evaluation.predictions import PREDICTIONS, mapped_schema, read_predicted
from lib.evaluation.result_tables import CLASSES, EXAMPLES, MAPS
from lib.evaluation.results import Counted, ImageCounts, MappingResults, PublishedValue, Results
from lib.experiment.layout import SPLITS, Layout, manifest_in, pair_name
from lib.experiment.settings import Experiment
from lib.experiment.variants import Variant, curve_variants, full_variants, pairs_with_points
from lib.features.tables import FeatureTables
from lib.images.labels import class_names
from lib.images.tables import ListingTable
from lib.networks.classifiers import load_classifier
from lib.storage.files import write_json
from lib.storage.manifests import Artifact, begin_all, digest, read_manifests, versions
from lib.storage.parquet import write_table
from lib.storage.records import FileRecord

MEASURED = 2  # raised when results gain numbers, so that results of earlier versions are made anew

LISTED = 2**20  # images of the listing among which one task looks for examples


@dataclass(frozen=True)
class MappedTable:
    """A table of predictions with mapped features: of one pair and some kinds of map."""

    source: str
    target: str
    folder: str
    maps: tuple[Mapped, ...]


@dataclass(frozen=True)
class TargetResults:
    """What is counted of one target's classifier, fed by itself and by all others."""

    own: Counted
    mappings: list[MappingResults]
    maps: pa.Table  # MAPS, not yet corrected
    examples: pa.Table  # EXAMPLES
    classes: FileRecord  # of the table of the results by class


def evaluate(run: Run) -> int:
    """Write results.json and the tables beside it, unless they were made from the same predictions.

    Results hold nothing of their own, so they are made anew if the predictions are others, as when a network was added.
    """
    experiment, files = run.experiment, run.files
    tables = FeatureTables.open(files.features("val"))
    networks = list(experiment.networks)
    sizes = tables.sizes(networks)
    check_weights(files, networks, [FeatureTables.open(files.features("train")), tables])
    manifests = read_predictions(run)
    check_inputs(run, tables, manifests)
    artifact = Artifact(
        manifest=files.results_manifest,
        data=(
            files.results,
            files.maps_table,
            files.subsets,
            files.directions,
            files.classes,
            files.examples,
            files.thumbnails,
        ),
        made_from={
            "predictions": digest({folder: manifest["made_from"] for folder, manifest in manifests.items()}),
            "published": [row.model_dump() for row in experiment.published],
            "evaluate": experiment.evaluate.model_dump(),
            "measured": MEASURED,
            **titles(experiment),
        },
    )
    if not begin_all({"results": artifact}, overwrite=True, search=search(run, "evaluate")):
        say("evaluate", "results.json is finished, skipped")
        return 0
    measured = measure_features(experiment.evaluate, tables, networks, experiment.seed)
    found = count_targets(run, mapped_tables(run, sizes, manifests), measured.directions)
    by_pair = {(row["source"], row["target"]): row for result in found.values() for row in result.mappings}
    mappings = [by_pair[pair] for pair in experiment.pairs()]
    correct_mappings(mappings)
    main_variant = full_variants(experiment.fit)[0]
    mapped = measure_mapped(files, tables, networks, main_variant, experiment.evaluate.neighbour_rows)
    for pair, fit in mapped.fits.items():
        by_pair[pair]["feature_fit"] = fit
    described, order = network_results(
        describe_networks(run, sizes),
        {name: result.own for name, result in found.items()},
        {pair: row["loss"] for pair, row in by_pair.items()},
    )
    for name, ratio in measured.participation.items():
        described[name]["participation_ratio"] = ratio
    results: Results = {
        "experiment": experiment.name,
        "images": {split: image_counts(run, split) for split in SPLITS},
        "networks": described,
        "mappings": mappings,
        "order": order,
        "shared_images": count_shared(FeatureTables.open(files.features("train")), tables, networks).count,
        "measures": measured.pairs,
        "published": published_values(experiment),
        "settings": run.written.model_dump(exclude={"published", "track"}),
        "versions": versions(),
    }
    maps = correct_maps(pa.concat_tables([result.maps for result in found.values()]))
    points = {pair: manifests[files.curve_predictions(*pair)]["points"] for pair in pairs_with_points(experiment)}
    subsets = add_points(described, mappings, maps, points)
    add_variances(mappings, subsets)
    records = {files.classes_of(target): result.classes for target, result in found.items()}
    records |= write_examples(run, [result.examples for result in found.values()])
    for uri, table in ((files.maps_table, maps), (files.subsets, subsets), (files.directions, mapped.directions)):
        records[uri] = FileRecord.of(write_table(uri, table))
    records[files.results] = FileRecord.of(write_json(files.results, results))
    artifact.finish(len(mappings), records=records)
    say("evaluate", f"{files.results} is written")
    return 1


def titles(experiment: Experiment) -> dict[str, dict[str, str]]:
    """Return what the experiment and its networks are called, if they have titles; results.json has them in settings.

    The empty name stands for the experiment.
    """
    named = {"": experiment.title} | {name: network.title for name, network in experiment.networks.items()}
    found = {name: title for name, title in named.items() if title is not None}
    return {"titles": found} if found else {}


def count_targets(
    run: Run, tables: Sequence[MappedTable], directions: Mapping[str, Directions]
) -> dict[str, TargetResults]:
    """Return what is counted of each target, in a task for each."""
    by_target: dict[str, list[MappedTable]] = {network: [] for network in run.experiment.networks}
    for table in tables:
        by_target[table.target].append(table)
    tasks = [
        count.remote(run.files, run.experiment, theirs, target, directions[target])
        for target, theirs in by_target.items()
    ]
    return dict(zip(by_target, wait_for("evaluate", "networks", tasks), strict=True))


def write_examples(run: Run, found: Sequence[pa.Table]) -> dict[str, FileRecord]:
    """Write the tables of the images to show, and return their records."""
    files, examples = run.files, pa.concat_tables(found)
    return {
        files.thumbnails: write_thumbnails(run, sorted(set(examples["image_id"].to_pylist()))),
        files.examples: FileRecord.of(write_table(files.examples, examples)),
    }


def read_predictions(run: Run) -> dict[str, dict[str, Any]]:
    """Return the manifests of all prediction tables, by folder. Raises StorageError if one is not finished."""
    files = run.files
    folders = [files.predictions(name, name) for name in run.experiment.networks]
    folders += [files.predictions(*pair) for pair in run.experiment.pairs()]
    folders += [files.curve_predictions(*pair) for pair in pairs_with_points(run.experiment)]
    return read_manifests({folder: manifest_in(folder) for folder in folders})


def check_inputs(run: Run, tables: FeatureTables, manifests: Mapping[str, dict[str, Any]]) -> None:
    """Raise ManifestMismatch if predictions were made from other features than those of the evaluation images."""
    files, networks = run.files, list(run.experiment.networks)
    folders = {files.predictions(name, name): (name, name) for name in networks}
    folders |= {files.predictions(*pair): pair for pair in run.experiment.pairs()}
    folders |= {files.curve_predictions(*pair): pair for pair in pairs_with_points(run.experiment)}
    check_predictions(tables, ((folders[folder], manifest) for folder, manifest in manifests.items()))


def mapped_tables(run: Run, sizes: Mapping[str, int], manifests: Mapping[str, dict[str, Any]]) -> list[MappedTable]:
    """Return the prediction tables of all pairs, that with the full maps of each first, with what manifests say."""
    fit = run.experiment.fit
    found = []
    for source, target in run.experiment.pairs():
        for folder, variants in (
            (run.files.predictions(source, target), full_variants(fit)),
            (run.files.curve_predictions(source, target), curve_variants(fit, min(sizes[source], sizes[target]))),
        ):
            if not variants:
                continue
            described = manifests[folder]["maps"]
            maps = tuple(mapped_of(variant, described[variant.column]) for variant in variants)
            found.append(MappedTable(source, target, folder, maps))
    return found


def mapped_of(variant: Variant, described: Mapping[str, Any]) -> Mapped:
    """Return a map with what a manifest says of it."""
    return Mapped(variant, described.get("fit_error"), described.get("training_rows"), described.get("curve"))


def describe_networks(run: Run, sizes: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return each network's feature size and number of classes."""
    return {
        name: {"feature_size": size, "classes": load_classifier(run.files, name).classes}
        for name, size in sizes.items()
    }


@ray.remote(num_cpus=1)
def count(
    files: Layout, experiment: Experiment, tables: Sequence[MappedTable], target: str, directions: Directions
) -> TargetResults:
    """Join the predictions of one target's classifier, pair by pair, count, and pick images to show: the final task.

    Write the results by class.
    """
    listed = ListingTable.open(files.images("val"))
    names = class_names(experiment.images) if listed is None else listed.classes
    reference = Reference(pair_name(target, target), read_predicted(files.predictions(target, target), PREDICTIONS))
    by_source: dict[str, list[MappedTable]] = {}
    for table in tables:
        by_source.setdefault(table.source, []).append(table)
    mappings, maps, examples, classes = [], [], [], [CLASSES.empty_table()]
    main_variant, evaluated = full_variants(experiment.fit)[0], experiment.evaluate
    for source, theirs in by_source.items():
        pair = (source, target)
        own = (pair_name(source, source), read_predicted(files.predictions(source, source), PREDICTIONS))
        mapped = [
            (pair_name(*pair), read_predicted(found.folder, mapped_schema(of.variant.column for of in found.maps)))
            for found in theirs
        ]
        judged = judge_pair(reference, own, mapped)
        rows = [evaluate_map(pair, judged, of, directions, evaluated.margin) for found in theirs for of in found.maps]
        answers = judged.mapped[main_variant.column]
        curve = next(of.curve for found in theirs for of in found.maps if of.variant == main_variant)
        mappings.append(main_mapping(judged, main_variant, rows, curve))
        maps += rows
        examples += pick_examples(pair, judged, answers, evaluated.examples, experiment.seed, names)
        right = judged.right(judged.target), judged.right(answers)
        classes.append(count_by_class(pair, judged.label, *right, names))
    by_class = write_table(files.classes_of(target), pa.concat_tables(classes))
    labelled = reference.own.drop_null()
    return TargetResults(
        counted(labelled["predicted"].to_numpy() == labelled["label"].to_numpy()),
        mappings,
        pa.Table.from_pylist(maps, schema=MAPS),
        pa.Table.from_pylist(examples, schema=EXAMPLES),
        FileRecord.of(by_class),
    )


def write_thumbnails(run: Run, wanted: list[str]) -> FileRecord:
    """Write small pictures of these images, which tasks look for in the listing, and return the file's record."""
    table, max_pixels = ListingTable.open(run.files.images("val")), run.experiment.images.max_pixels
    pictures: dict[str, bytes] = {}
    if table is not None and wanted:
        shared = ray.put(wanted)
        starts = range(0, table.rows, LISTED)
        for found in in_turn(lambda first: draw_thumbnails.remote(table, first, shared, max_pixels), starts):
            pictures |= found
    return FileRecord.of(write_table(run.files.thumbnails, thumbnails_table(wanted, pictures)))


@ray.remote(num_cpus=1)
def draw_thumbnails(table: ListingTable, first: int, wanted: list[str], max_pixels: int) -> dict[str, bytes]:
    """Return small pictures of those of the wanted images that stand among LISTED images from `first` on."""
    end = min(first + LISTED, table.rows)
    here = pc.is_in(table.read(first, end, ["image_id"])["image_id"], value_set=pa.array(wanted, pa.string()))
    rows = [table.read(first + place, first + place + 1) for place in np.flatnonzero(here.to_numpy()).tolist()]
    return thumbnails(pa.concat_tables(rows), max_pixels) if rows else {}


def published_values(experiment: Experiment) -> list[PublishedValue]:
    """Return the values printed elsewhere, as results.json has them."""
    return [
        {
            "source": row.source,
            "features": row.features,
            "classifier": row.classifier,
            "correct": row.correct,
            "accuracy": row.accuracy,
            "loss": row.loss,
        }
        for row in experiment.published
    ]


def image_counts(run: Run, split: str) -> ImageCounts:
    """Return how many images were listed, extracted and rejected, as the extraction counted them."""
    first = next(iter(run.experiment.networks))
    counts: ImageCounts = FeatureTables.open(run.files.features(split)).table(first).manifest["images"]
    return counts


if __name__ == "__main__":
    main(evaluate, __doc__)
