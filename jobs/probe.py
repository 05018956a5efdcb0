"""Feature tables -> classifiers fitted to labels, of the networks that have classifier = "probe".

python -m jobs.probe probes
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc
import ray

from jobs.cluster.capacity import Capacity
from jobs.cluster.commands import main
from jobs.cluster.damage import search
from jobs.cluster.memory import FILL, memory_of_a_task
from jobs.cluster.runs import Run, say
from lib.errors import RunError
from lib.experiment.layout import SPLITS, Layout
from lib.experiment.settings import ProbeSettings
from lib.features.chunks import SUMMED_ROWS, read_chunk, split_into_chunks
from lib.features.tables import FeatureTables
from lib.images.labels import class_names
from lib.networks import classifier_records
from lib.storage.manifests import Artifact, begin_all
from lib.storage.records import FileRecord

COPIES = 6  # of the rows of a logistic regression in memory: in float64, standardised, and a fold without others


def probe(run: Run) -> int:
    """Fit the classifiers that are missing, a task for each, and return how many that were.

    They hold nothing of their own, so that those of other settings are made anew.
    """
    names = [name for name, network in run.experiment.networks.items() if network.classifier == "probe"]
    if not names:
        return 0
    tables = FeatureTables.open(run.files.features("train"))
    classes = count_classes(run)
    artifacts = {
        name: Artifact(
            run.files.classifier_manifest(name),
            (run.files.classifier(name),),
            {
                "weights": tables.weights(name),
                "train": tables.digest(name),
                "classes": classes,
                "probe": run.experiment.probe.model_dump(),
            },
        )
        for name in names
    }
    missing = begin_all(artifacts, overwrite=True, search=search(run, "probe"))
    return fit_probes(run, tables, classes, missing) if missing else 0


def fit_probes(run: Run, tables: FeatureTables, classes: int, missing: Mapping[str, Artifact]) -> int:
    """Fit the classifiers of these networks, a task for each, and return how many they are."""
    settings = run.experiment.probe
    capacity, cpus = Capacity.now(), run.experiment.fit.cpus
    resources = {"num_cpus": cpus, "num_gpus": 1 if capacity.gpus else 0}
    room = FILL * ray.get(memory_of_a_task.options(**resources).remote(cpus, len(missing)))
    refuse_large(settings, tables, list(missing), room)
    tasks = [
        fit_probe.options(**resources).remote(cpus, run.files, tables, name, classes, settings) for name in missing
    ]
    for (name, artifact), (described, record) in zip(missing.items(), ray.get(tasks), strict=True):
        artifact.finish(classes, records={run.files.classifier(name): record}, **described)
        numbers = ", ".join(f"{key} {value:.3g}" for key, value in described.items() if key in ("ridge", "penalty"))
        say(
            "probe",
            f"{name}: a classifier of {classes} classes fitted to {described['training_rows']} labels, {numbers}",
        )
    return len(missing)


def count_classes(run: Run) -> int:
    """Return how many classes a probe has: as other networks' classifiers, else as class names, else as labels say."""
    for name, network in run.experiment.networks.items():
        if network.classifier not in ("none", "probe"):
            return classifier_records.count_classes(run.files, name)
    names = class_names(run.experiment.images)
    if names:
        return len(names)
    first = next(iter(run.experiment.networks))
    tables = [FeatureTables.open(run.files.features(split)) for split in SPLITS]
    largest = max(ray.get([largest_label.remote(found, first) for found in tables]))
    if largest < 0:
        raise RunError("images: no image has a label, to which a probe could be fitted")
    return int(largest) + 1


@ray.remote
def fit_probe(
    cpus: int, files: Layout, tables: FeatureTables, network: str, classes: int, settings: ProbeSettings
) -> tuple[dict[str, Any], FileRecord]:
    """Fit one network's classifier, write it, and return what its manifest says of it, and the file's record."""
    from jobs.fitting import probes  # with torch, which the tasks alone need

    return probes.fit_probe(cpus, files, tables, network, classes, settings)


@ray.remote(num_cpus=1)
def largest_label(tables: FeatureTables, network: str) -> int:
    """Return the largest label of a split, -1 if there is none."""
    found = [pc.max(read_chunk(chunk)["label"]).as_py() for chunk in split_into_chunks(tables, [network], SUMMED_ROWS)]
    return max((label for label in found if label is not None), default=-1)


def refuse_large(settings: ProbeSettings, tables: FeatureTables, names: list[str], room: float) -> None:
    """Raise RunError if a logistic regression's rows do not fit into `room` bytes."""
    for name in names if settings.kind == "logistic" else ():
        needed = COPIES * 8 * tables.rows(name) * tables.sizes([name])[name]
        if needed > room:
            raise RunError(
                f"networks.{name}.classifier: training rows of a logistic probe take {needed / 2**30:.1f} GB, a task "
                f'here has {room / 2**30:.1f} GB. Set probe.kind = "ridge", which takes any number of rows'
            )


if __name__ == "__main__":
    main(probe, __doc__)
