"""Prediction tables -> results.json: one Ray task joins them on image_id and counts, others measure the features.

python -m jobs.evaluate lite
"""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from jobs.cluster.commands import main
from jobs.cluster.runs import Run, say
from jobs.cluster.sums import distributed_sum
from lib.evaluation.cka import CrossSums
from lib.evaluation.examples import examples_table, pick_examples
from lib.evaluation.joining import join_and_judge
from lib.evaluation.judging import Mapped, evaluate_maps, main_maps
from lib.evaluation.neighbours import nearest_neighbours, neighbour_overlap, sample_rows
from lib.evaluation.predictions import MAPPED_PREDICTIONS, PREDICTIONS
from lib.evaluation.results import EvaluationResults, Example, ImageCounts, MeasureResults, PublishedValue, Results
from lib.experiment.layout import SPLITS, Layout, manifest_in
from lib.experiment.settings import EvaluateSettings, Experiment
from lib.experiment.variants import all_maps, own_name
from lib.features.chunks import SUMMED_ROWS, Chunk, read_chunk, split_into_chunks
from lib.features.reading import read_features
from lib.features.tables import FeatureTables
from lib.images.labels import class_names
from lib.networks.classifiers import Classifier
from lib.storage.columns import column_vectors
from lib.storage.files import read_json, write_json
from lib.storage.manifests import Artifact, digest, versions
from lib.storage.parquet import read_rows, write_table


def evaluate(run: Run) -> int:
    """Write results.json and examples.parquet, unless they were made from the same predictions.

    Results hold nothing of their own, so they are made anew if the predictions are others, as when a network was added.
    """
    tables = FeatureTables.open(run.files.features("val"))
    maps = read_maps(run, tables)
    artifact = Artifact(
        manifest=run.files.results_manifest,
        data=(run.files.results, run.files.examples),
        made_from=results_made_from(run, maps),
    )
    if not artifact.begin(overwrite=True):
        say("evaluate", "results.json is finished, skipped")
        return 0
    names = class_names(run.experiment.images)
    networks = list(run.experiment.networks)
    (sums,) = distributed_sum(split_into_chunks(tables, networks, SUMMED_ROWS), partial(cross_sums, networks=networks))
    counted, chosen = ray.get(
        count.remote(run.files, describe_networks(run, tables), maps, sums, names, run.experiment)
    )
    results: Results = {
        "experiment": run.experiment.name,
        "images": {split: image_counts(run, split) for split in SPLITS},
        **counted,
        "measures": measure_features(run.experiment.evaluate, tables, networks, ray.get(sums)),
        "published": published_values(run.experiment),
        "settings": run.written.model_dump(exclude={"published"}),
        "versions": versions(),
    }
    write_table(run.files.examples, ray.get(thumbnails.remote(run.experiment, chosen, names)))
    write_json(run.files.results, results)
    artifact.finish(len(counted["mappings"]))
    say("evaluate", f"{run.files.results} is written")
    return 1


def read_maps(run: Run, tables: FeatureTables) -> list[Mapped]:
    """Return every map with what its manifest says, the main map of each pair first."""
    found = []
    for key in all_maps(run.experiment, tables.sizes(list(run.experiment.networks))):
        manifest = read_json(run.files.map_manifest(key.name))
        found.append(Mapped(key, manifest.get("fit_error"), manifest.get("training_rows")))
    return found


def results_made_from(run: Run, maps: list[Mapped]) -> dict[str, Any]:
    """Return what results.json depends on, as its manifest records it."""
    names = [*map(own_name, run.experiment.networks), *(mapped.key.name for mapped in maps)]
    manifests = {name: read_json(manifest_in(run.files.predictions(name)))["made_from"] for name in names}
    return {
        "predictions": digest(manifests),
        "published": [row.model_dump() for row in run.experiment.published],
        "evaluate": run.experiment.evaluate.model_dump(),
    }


def describe_networks(run: Run, tables: FeatureTables) -> dict[str, dict[str, int]]:
    """Return each network's feature size and number of classes."""
    return {
        name: {"feature_size": size, "classes": Classifier.load(run.files.classifier(name)).classes}
        for name, size in tables.sizes(list(run.experiment.networks)).items()
    }


@ray.remote(num_cpus=1, num_returns=2)
def count(
    files: Layout,
    networks: dict[str, dict[str, int]],
    maps: list[Mapped],
    sums: CrossSums,
    names: list[str] | None,
    experiment: Experiment,
) -> tuple[EvaluationResults, list[Example]]:
    """Join all prediction tables on image_id, count, and pick images to show: the final task."""
    schemas = {own_name(network): PREDICTIONS for network in networks}
    schemas |= {mapped.key.name: MAPPED_PREDICTIONS for mapped in maps}
    judged = join_and_judge({name: read_rows(files.predictions(name), schema) for name, schema in schemas.items()})
    chosen = [
        example
        for mapped in main_maps(maps)
        for example in pick_examples(judged, mapped.key, experiment.evaluate.examples, experiment.seed)
    ]
    return evaluate_maps(judged, networks, maps, sums, names), chosen


def cross_sums(chunk: Chunk, networks: list[str]) -> list[CrossSums]:
    """Return the sums over a chunk's rows that linear CKA needs."""
    rows = read_chunk(chunk)
    return [CrossSums.of({network: column_vectors(rows, network) for network in networks})]


def measure_features(
    settings: EvaluateSettings, tables: FeatureTables, networks: list[str], sums: CrossSums
) -> list[MeasureResults]:
    """Return CKA and mutual nearest neighbours of each two networks."""
    rows = min(sums.n, settings.neighbour_rows)
    k = min(settings.neighbours, rows - 1)
    if k < 1:
        return []
    near = dict(
        zip(networks, ray.get([neighbours.remote(tables, network, rows, k) for network in networks]), strict=True)
    )
    return [
        {
            "a": a,
            "b": b,
            "cka": sums.cka(a, b),
            "neighbours": neighbour_overlap(near[a], near[b]),
            "neighbours_by_chance": k / (rows - 1),
            "k": k,
            "rows": rows,
        }
        for a, b in combinations(networks, 2)
    ]


@ray.remote(num_cpus=1)
def neighbours(tables: FeatureTables, network: str, rows: int, k: int) -> np.ndarray:
    """Return the nearest neighbours (rows, k) among a sample of the images, the same sample for all networks."""
    found = read_features(tables, [network])
    return nearest_neighbours(found.vectors[network][sample_rows(found.image_id.tolist(), rows)], k)


@ray.remote(num_cpus=1)
def thumbnails(experiment: Experiment, chosen: list[Example], names: list[str] | None) -> pa.Table:
    """Return the chosen images as a table with thumbnails."""
    return examples_table(experiment.images, experiment.limit, chosen, names)


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
