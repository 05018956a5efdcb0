"""Prediction tables -> results.json: a Ray task for each target joins them on image_id and counts.

Beside results.json stand tables: maps.parquet (every map), classes/ (every class), examples.parquet.

python -m jobs.evaluate lite
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray

from jobs.cluster.commands import main
from jobs.cluster.damage import search
from jobs.cluster.progress import wait_for
from jobs.cluster.runs import Run, say
from jobs.evaluation.mapped_features import measure_mapped
from jobs.evaluation.measures import measure_features
from jobs.evaluation.shared_images import count_shared
from lib.evaluation.belonging import check_predictions, check_weights
from lib.evaluation.cka import Directions
from lib.evaluation.classes import count_by_class
from lib.evaluation.examples import pick_examples, thumbnails_table
from lib.evaluation.joining import Judged, Reference, judge_pair
from lib.evaluation.judging import (
    Mapped,
    correct_mappings,
    correct_maps,
    counted,
    evaluate_map,
    feature_mapping,
    main_feature_mapping,
    main_mapping,
    network_results,
)
from lib.evaluation.point_results import add_points, add_variances
from lib.evaluation.predictions import PREDICTIONS, mapped_schema, read_predicted
from lib.evaluation.result_tables import CLASSES, EXAMPLES, MAPS
from lib.evaluation.results import (
    Counted,
    Example,
    FeatureMappingResults,
    ImageCounts,
    MappingResults,
    PublishedValue,
    Results,
)
from lib.experiment.layout import SPLITS, Layout, manifest_in, pair_name
from lib.experiment.settings import Experiment
from lib.experiment.variants import Variant, curve_variants, full_variants, main_variant, pairs_with_points
from lib.features.tables import FeatureTables
from lib.images.labels import class_names
from lib.networks.classifiers import needed_classifier
from lib.storage.files import write_json
from lib.storage.manifests import Artifact, begin_all, digest, read_manifests, versions
from lib.storage.parquet import write_table
from lib.storage.records import FileRecord

MEASURED = 2  # raised when results gain numbers, so that results of earlier versions are made anew

Pair = tuple[str, str]


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

    own: Counted | None  # None without a classifier, as are then the mappings
    mappings: list[MappingResults]
    feature_mappings: list[FeatureMappingResults]  # if there is no classifier
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
    measures, directions = measure_features(experiment.evaluate, tables, networks)
    found = count_targets(run, mapped_tables(run, sizes, manifests), directions)
    by_pair = {(row["source"], row["target"]): row for result in found.values() for row in result.mappings}
    mappings = [by_pair[pair] for pair in experiment.pairs() if pair in by_pair]
    others = {(row["source"], row["target"]): row for result in found.values() for row in result.feature_mappings}
    correct_mappings(mappings)
    mapped = measure_mapped(files, tables, networks, main_variant(experiment), experiment.evaluate.neighbour_rows)
    for pair, fit in mapped.fits.items():
        (by_pair[pair] if pair in by_pair else others[pair])["feature_fit"] = fit
    described, order = network_results(
        describe_networks(run, sizes),
        {name: result.own for name, result in found.items() if result.own is not None},
        {pair: row["loss"] for pair, row in by_pair.items()},
    )
    results: Results = {
        "experiment": experiment.name,
        "images": {split: image_counts(run, split) for split in SPLITS},
        "networks": described,
        "mappings": mappings,
        "order": order,
        "shared_images": count_shared(FeatureTables.open(files.features("train")), tables, networks).count,
        "measures": measures,
        "published": published_values(experiment),
        "settings": run.written.model_dump(exclude={"published", "track"}),
        "versions": versions(),
    }
    if others:
        results["feature_mappings"] = [others[pair] for pair in experiment.pairs() if pair in others]
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
    thumbnails = write_thumbnails.remote(files, run.experiment, sorted(set(examples["image_id"].to_pylist())))
    return {
        files.thumbnails: ray.get(thumbnails),
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
            (run.files.predictions(source, target), full_variants(run.experiment, source, target)),
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
    return Mapped(variant, described.get("fit_error"), described.get("training_rows"))


def describe_networks(run: Run, sizes: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Return each network's feature size, which features these are, where its classifier comes from, and how many
    classes it has.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, network in run.experiment.networks.items():
        found[name] = {"feature_size": sizes[name], "classifier": network.classifier}
        if network.chosen_features:
            found[name]["features"] = network.chosen_features
        if network.classifies:
            found[name]["classes"] = needed_classifier(run.files, name).classes
    return found


@ray.remote(num_cpus=1)
def count(
    files: Layout, experiment: Experiment, tables: Sequence[MappedTable], target: str, directions: Directions
) -> TargetResults:
    """Join the predictions of one target's classifier, pair by pair, count, and pick images to show: the final task.

    Write the results by class.
    """
    names = class_names(experiment.images)
    reference = Reference(pair_name(target, target), read_predicted(files.predictions(target, target), PREDICTIONS))
    by_source: dict[str, list[MappedTable]] = {}
    for table in tables:
        by_source.setdefault(table.source, []).append(table)
    found = TargetCounts([], [], [], [], [CLASSES.empty_table()])
    for source, theirs in by_source.items():
        pair = (source, target)
        own = (pair_name(source, source), read_predicted(files.predictions(source, source), PREDICTIONS))
        mapped = [
            (pair_name(*pair), read_predicted(table.folder, mapped_schema(of.variant.column for of in table.maps)))
            for table in theirs
        ]
        judged = judge_pair(reference, own, mapped)
        maps = [of for table in theirs for of in table.maps]
        if reference.answers:
            count_mappings(experiment, pair, judged, maps, directions, names, found)
        else:
            rows = [feature_mapping(pair, judged, of, directions) for of in maps]
            found.feature_mappings.append(main_feature_mapping(main_variant(experiment), rows))
            found.maps.extend(rows)
    by_class = write_table(files.classes_of(target), pa.concat_tables(found.classes))
    labelled = reference.own.drop_null()
    return TargetResults(
        counted(labelled["predicted"].to_numpy() == labelled["label"].to_numpy()) if reference.answers else None,
        found.mappings,
        found.feature_mappings,
        pa.Table.from_pylist(found.maps, schema=MAPS),
        pa.Table.from_pylist(found.examples, schema=EXAMPLES),
        FileRecord.of(by_class),
    )


@dataclass(frozen=True)
class TargetCounts:
    """What is counted of one target so far, source after source."""

    mappings: list[MappingResults]
    feature_mappings: list[FeatureMappingResults]
    maps: list[Any]  # rows of MAPS
    examples: list[Example]
    classes: list[pa.Table]


def count_mappings(
    experiment: Experiment,
    pair: Pair,
    judged: Judged,
    maps: Sequence[Mapped],
    directions: Directions,
    names: list[str] | None,
    into: TargetCounts,
) -> None:
    """Count what one pair's maps get right with the target's classifier."""
    evaluated, variant = experiment.evaluate, main_variant(experiment)
    rows = [evaluate_map(pair, judged, of, directions, evaluated.margin) for of in maps]
    answers = judged.mapped[variant.column]
    mapping = main_mapping(judged, variant, rows)
    if experiment.networks[pair[1]].classifier != "own":
        mapping["classifier"] = experiment.networks[pair[1]].classifier
    into.mappings.append(mapping)
    into.maps.extend(rows)
    into.examples.extend(pick_examples(pair, judged, answers, evaluated.examples, experiment.seed, names))
    right = judged.right(judged.target), judged.right(answers)
    into.classes.append(count_by_class(pair, judged.label, *right, names))


@ray.remote(num_cpus=1)
def write_thumbnails(files: Layout, experiment: Experiment, wanted: list[str]) -> FileRecord:
    """Write small pictures of these images, and return the file's record."""
    return FileRecord.of(write_table(files.thumbnails, thumbnails_table(experiment.images, experiment.limit, wanted)))


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
