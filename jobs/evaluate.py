"""Prediction tables -> results.json: one Ray task joins them on image_id and counts.

python -m jobs.evaluate lite
"""

from __future__ import annotations

from typing import Any

import ray

from jobs.command import Run, main, say
from lib import results, storage, tables

SPLITS = ("train", "val")


def evaluate(run: Run) -> int:
    """Write results.json, unless the one there was made from the same predictions."""
    product = tables.Product(
        manifest=run.path("results.manifest.json"), data=(run.path("results.json"),), made_from=made_from(run)
    )
    if not product.begin(run.overwrite):
        say("evaluate", "results.json is finished, skipped")
        return 0
    counted = ray.get(count.remote(run.folder, list(run.experiment.networks), run.experiment.pairs()))
    found = {
        "experiment": run.experiment.name,
        "images": {split: image_counts(run, split) for split in SPLITS},
        **counted,
        "published": [row.model_dump() for row in run.experiment.published],
        "settings": run.written.model_dump(exclude={"published"}),
        "versions": tables.versions(),
    }
    storage.write_json(run.path("results.json"), found)
    product.finish(len(counted["mappings"]))
    say("evaluate", f"{run.path('results.json')} is written")
    return 1


def made_from(run: Run) -> dict[str, Any]:
    compositions = [*((name, name) for name in run.experiment.networks), *run.experiment.pairs()]
    manifests = {
        results.title(composition): storage.read_json(
            run.path("predictions", results.title(composition), "manifest.json")
        )["made_from"]
        for composition in compositions
    }
    return {
        "predictions": tables.digest(manifests),
        "published": [row.model_dump() for row in run.experiment.published],
    }


@ray.remote(num_cpus=1)
def count(folder: str, networks: list[str], pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """The final task: reads all prediction tables, joins them on image_id, and counts."""
    predictions = {
        (source, target): tables.read_rows(
            storage.join(folder, "predictions", results.title((source, target))),
            tables.PREDICTIONS if source == target else tables.MAPPED_PREDICTIONS,
        )
        for source, target in [*((name, name) for name in networks), *pairs]
    }
    features = storage.join(folder, "features", "val")
    sizes = {name: tables.read_schema(tables.find_pass(features, name)).field(name).type.list_size for name in networks}
    errors = {
        pair: storage.read_json(storage.join(folder, "maps", f"{results.title(pair)}.manifest.json"))["fit_error"]
        for pair in pairs
    }
    return results.evaluate(predictions, sizes, errors)


def image_counts(run: Run, split: str) -> dict[str, Any]:
    """Listed, extracted and rejected, as the extraction counted them."""
    first = next(iter(run.experiment.networks))
    folder = tables.find_pass(run.path("features", split), first)
    counts: dict[str, Any] = storage.read_json(storage.join(folder, "manifest.json"))["images"]
    return counts


if __name__ == "__main__":
    main(evaluate, __doc__)
