"""Prediction tables -> results.json: a Ray task for each target joins them on image_id and counts.

Beside results.json stand tables: maps.parquet (every map), classes/ (every class), examples.parquet.

python -m jobs.evaluate lite
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from jobs.cluster.commands import main
from jobs.cluster.damage import search
from jobs.cluster.runs import Run, say
from jobs.evaluation.mapped_features import measure_mapped, retrieval_rows
from jobs.evaluation.measures import measure_features
from jobs.evaluation.sets import evaluate_sets, read_sets
from jobs.evaluation.shared_images import count_shared
from jobs.evaluation.targets import count_targets, described_maps, mapped_tables
from jobs.evaluation.thumbnails import write_thumbnails
from lib.evaluation.belonging import check_predictions, check_weights
from lib.evaluation.judging import (
    correct_mappings,
    correct_maps,
    network_results,
)
from lib.evaluation.point_results import add_points, add_variances
from lib.evaluation.result_tables import DIRECTIONS, RETRIEVAL, SUBSETS
from lib.evaluation.results import ImageCounts, PublishedValue, Results
from lib.evaluation.results_file import write_results
from lib.evaluation.set_results import with_sets
from lib.experiment.layout import manifest_in
from lib.experiment.settings import Experiment
from lib.experiment.variants import full_of_curves, main_variant, pairs_with_points
from lib.features.tables import FeatureTables
from lib.networks.classifier_records import count_classes
from lib.report.findings import read_results
from lib.storage.manifests import Artifact, begin_all, digest, read_manifests, read_records, versions
from lib.storage.parquet import write_table
from lib.storage.records import FileRecord

MEASURED = 4  # raised when results gain numbers, so that results of earlier versions are made anew


def evaluate(run: Run) -> int:
    """Write results.json and the tables beside it, unless they were made from the same predictions.

    Results hold nothing of their own, so they are made anew if the predictions are others, as when a network was added.
    """
    experiment, files = run.experiment, run.files
    by_split = {split: FeatureTables.open(files.features(split)) for split in experiment.images.splits}
    tables = by_split["val"]
    check_weights(files, list(experiment.networks), list(by_split.values()))
    manifests = read_predictions(run, tables)
    artifact = Artifact(
        manifest=files.results_manifest,
        data=(
            files.results,
            files.maps_table,
            files.subsets,
            files.directions,
            files.retrieval,
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
            **({"twins": [list(pair) for pair in twins]} if (twins := experiment.twins()) else {}),
        },
    )
    if begin_all({"results": artifact}, overwrite=True, search=search(run, "evaluate")):
        evaluate_val(run, artifact, by_split, manifests)
        return 1 + judge_sets(run, artifact, by_split)
    made = judge_sets(run, artifact, by_split)
    if not made:
        say("evaluate", "results.json is finished, skipped")
    return made


def judge_sets(run: Run, artifact: Artifact, by_split: Mapping[str, FeatureTables]) -> int:
    """Bring what the finished results say of further evaluation sets up to date. Return how many things were made."""
    wanted, made = evaluate_sets(run, by_split)
    manifest = read_manifests({"": artifact.manifest})[""]
    if manifest.get("sets", {}) == wanted:
        return made
    records = read_records(artifact.manifest)
    results = with_sets(read_results(run.files, records), read_sets(run), run.experiment.seed)
    results["images"] = all_image_counts(run.experiment, by_split)
    results["settings"] = settings_of(run)
    artifact.reopen()
    records[run.files.results] = FileRecord.of(write_results(run.files.results, results))
    artifact.finish(len(results["mappings"]), records=records, sets=wanted)
    say("evaluate", f"{run.files.results} has the evaluation sets {', '.join(wanted) or 'no more'}")
    return made + 1


def evaluate_val(
    run: Run, artifact: Artifact, by_split: Mapping[str, FeatureTables], manifests: Mapping[str, dict[str, Any]]
) -> None:
    """Write results.json and the tables beside it, from the predictions on val, whose `manifests` are given."""
    experiment, files, tables = run.experiment, run.files, by_split["val"]
    networks = list(experiment.networks)
    sizes = tables.sizes(networks)
    measured = measure_features(experiment.evaluate, tables, networks, experiment.seed)
    found = count_targets(run, mapped_tables(run, sizes, manifests), measured.directions)
    by_pair = {(row["source"], row["target"]): row for result in found.values() for row in result.mappings}
    mappings = [by_pair[pair] for pair in experiment.pairs() if pair in by_pair]
    others = {(row["source"], row["target"]): row for result in found.values() for row in result.feature_mappings}
    correct_mappings(mappings)
    for pair in experiment.twins():
        twin = by_pair[pair] if pair in by_pair else others[pair]
        twin["twins"] = True
    looked_up = list(dict.fromkeys([main_variant(experiment), *full_of_curves(experiment)]))
    mapped = measure_mapped(files, tables, networks, looked_up, experiment.evaluate.neighbour_rows)
    for pair, fit in mapped.fits.items():
        (by_pair[pair] if pair in by_pair else others[pair])["feature_fit"] = fit
    described, order = network_results(
        describe_networks(run, sizes),
        {name: result.own for name, result in found.items() if result.own is not None},
        {pair: row["loss"] for pair, row in by_pair.items()},
    )
    for name, ratio in measured.participation.items():
        described[name]["participation_ratio"] = ratio
    results: Results = {
        "experiment": experiment.name,
        "images": all_image_counts(experiment, by_split),
        "networks": described,
        "mappings": mappings,
        "order": order,
        "shared_images": count_shared("evaluate", by_split["train"], tables, networks).count,
        "measures": measured.pairs,
        "published": published_values(experiment),
        "settings": settings_of(run),
        "versions": versions(),
    }
    if others:
        results["feature_mappings"] = [others[pair] for pair in experiment.pairs() if pair in others]
    maps = correct_maps(pa.concat_tables([result.maps for result in found.values()]))
    points = {pair: manifests[files.curve_predictions(*pair)]["points"] for pair in pairs_with_points(experiment)}
    subsets = add_points(described, mappings, maps, points)
    add_variances(mappings, subsets, maps)
    records = {files.classes_of(target): result.classes for target, result in found.items()}
    records |= write_examples(run, [result.examples for result in found.values()])
    for uri, table in (
        (files.maps_table, maps),
        (files.subsets, pa.Table.from_pylist(subsets, schema=SUBSETS)),
        (files.directions, pa.concat_tables([DIRECTIONS.empty_table(), *mapped.directions.values()])),
        (
            files.retrieval,
            pa.Table.from_pylist(retrieval_rows(mapped, described_maps(run, sizes, manifests)), RETRIEVAL),
        ),
    ):
        records[uri] = FileRecord.of(write_table(uri, table))
    records[files.results] = FileRecord.of(write_results(files.results, results))
    artifact.finish(len(mappings), records=records)
    say("evaluate", f"{files.results} is written")


def settings_of(run: Run) -> dict[str, Any]:
    """Return the experiment as results.json has it."""
    return run.written.model_dump(exclude={"published", "track"})


def titles(experiment: Experiment) -> dict[str, dict[str, str]]:
    """Return what the experiment and its networks are called, if they have titles; results.json has them in settings.

    The empty name stands for the experiment.
    """
    named = {"": experiment.title} | {name: network.title for name, network in experiment.networks.items()}
    found = {name: title for name, title in named.items() if title is not None}
    return {"titles": found} if found else {}


def write_examples(run: Run, found: Sequence[pa.Table]) -> dict[str, FileRecord]:
    """Write the tables of the images to show, and return their records."""
    files, examples = run.files, pa.concat_tables(found)
    return {
        files.thumbnails: write_thumbnails(run, sorted(set(examples["image_id"].to_pylist()))),
        files.examples: FileRecord.of(write_table(files.examples, examples)),
    }


def read_predictions(run: Run, tables: FeatureTables) -> dict[str, dict[str, Any]]:
    """Return the manifests of all prediction tables, by folder.

    Raises StorageError if one is not finished, and ManifestMismatch if predictions were made from other features than
    those of the evaluation images, `tables`.
    """
    files = run.files
    folders = {files.predictions(name, name): (name, name) for name in run.experiment.networks}
    folders |= {files.predictions(*pair): pair for pair in run.experiment.pairs()}
    folders |= {files.curve_predictions(*pair): pair for pair in pairs_with_points(run.experiment)}
    manifests = read_manifests({folder: manifest_in(folder) for folder in folders})
    check_predictions(tables, ((folders[folder], manifest) for folder, manifest in manifests.items()))
    return manifests


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
            found[name]["classes"] = count_classes(run.files, name)
    return found


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


def all_image_counts(experiment: Experiment, by_split: Mapping[str, FeatureTables]) -> dict[str, ImageCounts]:
    """Return how many images of each split were listed, extracted and rejected, as the extraction counted them."""
    first = next(iter(experiment.networks))
    return {split: tables.table(first).manifest["images"] for split, tables in by_split.items()}


if __name__ == "__main__":
    main(evaluate, __doc__)
