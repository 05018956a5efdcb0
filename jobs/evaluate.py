"""Prediction tables -> results.json: one Ray task joins them on image_id and counts, others measure the features.

python -m jobs.evaluate lite
"""

from __future__ import annotations

from functools import reduce
from itertools import combinations
from operator import add
from typing import Any

import numpy as np
import ray

from jobs.cluster.capacity import Capacity
from jobs.cluster.commands import main
from jobs.cluster.runs import Run, say
from lib.evaluation.cka import CrossSums
from lib.evaluation.examples import examples_table, pick_examples
from lib.evaluation.joining import join_and_judge
from lib.evaluation.judging import Mapped, evaluate_maps, own_predictions
from lib.evaluation.neighbours import nearest_neighbours, neighbour_overlap, sample_rows
from lib.evaluation.predictions import MAPPED_PREDICTIONS, PREDICTIONS
from lib.experiment.variants import map_name
from lib.features.chunks import SUMMED, Chunk, read_chunk, split_into_chunks, vectors_of
from lib.features.reading import read_features
from lib.features.tables import feature_size, find_pass
from lib.images.labels import class_names
from lib.networks.classifiers import Classifier
from lib.storage.files import read_json, write_json
from lib.storage.manifests import Artifact, digest, versions
from lib.storage.parquet import read_rows, write_table
from lib.storage.uris import join_uri

SPLITS = ("train", "val")


def evaluate(run: Run) -> int:
    """Write results.json and examples.parquet, unless those there were made from the same predictions.

    Results hold nothing of their own: of other predictions they are made anew, as when a network was added.
    """
    product = Artifact(
        manifest=run.path("results.manifest.json"),
        data=(run.path("results.json"), run.path("examples.parquet")),
        made_from=results_made_from(run),
    )
    if not product.begin(overwrite=True):
        say("evaluate", "results.json is finished, skipped")
        return 0
    names = class_names(run.experiment.images)
    sums = sum_features(run)
    counted, chosen = ray.get(count.remote(run.folder, described(run), all_maps(run), sums, names, run.experiment))
    found = {
        "experiment": run.experiment.name,
        "images": {split: image_counts(run, split) for split in SPLITS},
        **counted,
        "measures": measures(run, ray.get(sums)),
        "published": [row.model_dump() for row in run.experiment.published],
        "settings": run.written.model_dump(exclude={"published"}),
        "versions": versions(),
    }
    shown = ray.get(thumbnails.remote(run.experiment, chosen, names))
    write_table(run.path("examples.parquet"), shown)
    write_json(run.path("results.json"), found)
    product.finish(len(counted["mappings"]))
    say("evaluate", f"{run.path('results.json')} is written")
    return 1


def results_made_from(run: Run) -> dict[str, Any]:
    names = [*map(own_predictions, run.experiment.networks), *(one.name for one in all_maps(run))]
    manifests = {name: read_json(run.path("predictions", name, "manifest.json"))["made_from"] for name in names}
    return {
        "predictions": digest(manifests),
        "published": [row.model_dump() for row in run.experiment.published],
        "evaluate": run.experiment.evaluate.model_dump(),
    }


def described(run: Run) -> dict[str, dict[str, int]]:
    """Each network's feature size and number of classes."""
    features = run.path("features", "val")
    return {
        name: {
            "feature_size": feature_size(features, name),
            "classes": Classifier.load(run.path("classifiers", f"{name}.safetensors")).classes,
        }
        for name in run.experiment.networks
    }


def all_maps(run: Run) -> list[Mapped]:
    """Every map, of each pair the main one first, with what its manifest says."""
    found = []
    for source, target in run.experiment.pairs():
        for variant in run.maps(source, target):
            name = map_name(source, target, variant)
            manifest = read_json(run.path("maps", f"{name}.manifest.json"))
            error, rows = manifest.get("fit_error"), manifest.get("training_rows")
            found.append(Mapped(source, target, variant, name, error, rows))
    return found


@ray.remote(num_cpus=1, num_returns=2)
def count(
    folder: str, networks: dict[str, dict[str, int]], maps: list[Mapped], sums: CrossSums, names: Any, experiment: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The final task: reads all prediction tables, joins them on image_id, and counts; and picks images to show."""
    schemas = {own_predictions(name): PREDICTIONS for name in networks}
    schemas |= {one.name: MAPPED_PREDICTIONS for one in maps}
    judged = join_and_judge(
        {name: read_rows(join_uri(folder, "predictions", name), schema) for name, schema in schemas.items()}
    )
    mains = {(one.source, one.target): one for one in reversed(maps)}
    picked = [
        pick_examples(judged, one, experiment.evaluate.examples, experiment.seed) for one in reversed(mains.values())
    ]
    return evaluate_maps(judged, networks, maps, sums, names), [row for rows in picked for row in rows]


def sum_features(run: Run) -> ray.ObjectRef:
    """CrossSums of all networks' evaluation features, in the object store."""
    networks = list(run.experiment.networks)
    work = split_into_chunks(run.path("features", "val"), networks, SUMMED)
    tasks = min(len(work), max(1, int(Capacity.now().cpus)))
    return add_up.remote(*[sum_chunks.remote(work[task::tasks], networks) for task in range(tasks)])


@ray.remote(num_cpus=1)
def sum_chunks(work: list[Chunk], networks: list[str]) -> CrossSums:
    def of(chunk: Chunk) -> CrossSums:
        rows = read_chunk(chunk)
        return CrossSums.of({network: vectors_of(rows, network) for network in networks})

    return reduce(add, map(of, work))


@ray.remote(num_cpus=1)
def add_up(*shares: CrossSums) -> CrossSums:
    return reduce(add, shares)


def measures(run: Run, sums: CrossSums) -> list[dict[str, Any]]:
    """CKA and mutual nearest neighbours of each two networks."""
    options, features = run.experiment.evaluate, run.path("features", "val")
    rows = min(sums.n, options.neighbour_rows)
    k = min(options.neighbours, rows - 1)
    if k < 1:
        return []
    networks = list(run.experiment.networks)
    near = dict(
        zip(networks, ray.get([neighbours.remote(features, network, rows, k) for network in networks]), strict=True)
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
def neighbours(features: str, network: str, rows: int, k: int) -> np.ndarray:
    """(rows, k) nearest neighbours among a sample of the images, the same one for all networks."""
    found = read_features(features, [network])
    return nearest_neighbours(found.vectors[network][sample_rows(found.image_id.tolist(), rows)], k)


@ray.remote(num_cpus=1)
def thumbnails(experiment: Any, chosen: list[dict[str, Any]], names: list[str] | None) -> Any:
    return examples_table(experiment.images, experiment.limit, chosen, names)


def image_counts(run: Run, split: str) -> dict[str, Any]:
    """Listed, extracted and rejected, as the extraction counted them."""
    first = next(iter(run.experiment.networks))
    folder = find_pass(run.path("features", split), first)
    counts: dict[str, Any] = read_json(join_uri(folder, "manifest.json"))["images"]
    return counts


if __name__ == "__main__":
    main(evaluate, __doc__)
