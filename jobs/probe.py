"""Feature tables -> classifiers fitted to labels, of the networks that have classifier = "probe".

python -m jobs.probe probes
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import torch

from jobs.cluster.capacity import Capacity
from jobs.cluster.commands import main
from jobs.cluster.damage import search
from jobs.cluster.memory import FILL, memory_of_a_task
from jobs.cluster.runs import Run, say
from lib.errors import RunError
from lib.experiment.layout import SPLITS, Layout
from lib.experiment.settings import ProbeSettings
from lib.experiment.variants import FEW_ROWS, PARTS, assign_parts, part_edges
from lib.features.chunks import SUMMED_ROWS, read_chunk, split_into_chunks
from lib.features.reading import Features, read_features
from lib.features.tables import FeatureTables
from lib.images.labels import class_names
from lib.maps.moments import SourceMoments, float64_rows
from lib.maps.probes import label_moments, logistic_probe, ridge_probe
from lib.maps.row_space import row_space
from lib.networks.classifiers import needed_classifier
from lib.storage.columns import column_vectors
from lib.storage.files import write_bytes
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
    settings = run.experiment.probe
    artifacts = {
        name: Artifact(
            run.files.classifier_manifest(name),
            (run.files.classifier(name),),
            {
                "weights": tables.weights(name),
                "train": tables.digest(name),
                "classes": classes,
                "probe": settings.model_dump(),
            },
        )
        for name in names
    }
    missing = begin_all(artifacts, overwrite=True, search=search(run, "probe"))
    capacity, cpus = Capacity.now(), run.experiment.fit.cpus
    resources = {"num_cpus": cpus, "num_gpus": 1 if capacity.gpus else 0}
    if missing:
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
            return needed_classifier(run.files, name).classes
    names = class_names(run.experiment.images)
    if names:
        return len(names)
    first = next(iter(run.experiment.networks))
    tables = [FeatureTables.open(run.files.features(split)) for split in SPLITS]
    largest = max(ray.get([largest_label.remote(found, first) for found in tables]))
    if largest < 0:
        raise RunError("images: no image has a label, to which a probe could be fitted")
    return int(largest) + 1


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


@ray.remote
def fit_probe(
    cpus: int, files: Layout, tables: FeatureTables, network: str, classes: int, settings: ProbeSettings
) -> tuple[dict[str, Any], FileRecord]:
    """Fit one network's classifier, write it, and return what its manifest says of it, and the file's record.

    Raises RunError if too few images have labels.
    """
    from lib.networks.devices import best_device, compute_on_cpu  # imported here, since the driver computes nothing

    compute_on_cpu(cpus)
    device = best_device()
    few = 0 < tables.rows(network) <= FEW_ROWS
    whole = labelled_features(tables, network) if few or settings.kind == "logistic" else None
    edges = None
    if few and whole is not None:
        if len(whole.image_id) < len(PARTS):
            raise RunError(
                f"images.train: {len(whole.image_id)} images have labels, a probe needs {len(PARTS)} or more"
            )
        edges = part_edges(whole.image_id.tolist())
    if settings.kind == "logistic" and whole is not None:
        F = float64_rows(whole.vectors[network], device)
        part, label = parts_and_labels(whole.image_id.tolist(), whole.label.to_numpy(), edges, device)
        classifier, described = logistic_probe(F, label, part, classes, settings.iterations)
    else:
        spaces = {}
        if whole is not None and len(whole.image_id) < tables.sizes([network])[network]:
            spaces = {"features": row_space(whole.vectors[network], device)}
        classifier, described = ridge_probe(sum_labelled(tables, network, classes, spaces, edges, device), spaces)
    data = classifier.to_bytes()
    write_bytes(files.classifier(network), data)
    return described, FileRecord.of(data)


def parts_and_labels(
    image_ids: list[str], labels: np.ndarray, edges: np.ndarray | None, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the part and the label of each image, (n,) both, on a device."""
    part = torch.from_numpy(assign_parts(image_ids, edges)).to(device)
    return part, torch.from_numpy(labels.astype(np.int64)).to(device)


def labelled_features(tables: FeatureTables, network: str) -> Features:
    """Return the features of all training images that have a label."""
    found = read_features(tables, [network])
    known = np.asarray(pc.is_valid(found.label))
    return Features(found.image_id[known], found.label.drop_null(), {network: found.vectors[network][known]})


def sum_labelled(
    tables: FeatureTables,
    network: str,
    classes: int,
    spaces: dict[str, torch.Tensor],
    edges: np.ndarray | None,
    device: torch.device,
) -> list[SourceMoments]:
    """Return the sums over the labelled rows of each of the PARTS. Raises RunError if no row has a label."""
    total: list[SourceMoments] = []
    for chunk in split_into_chunks(tables, [network], SUMMED_ROWS):
        rows = read_chunk(chunk)
        rows = rows.filter(pc.is_valid(rows["label"]))
        for place, found in enumerate(sums_of_parts(rows, network, classes, spaces, edges, device)):
            if place == len(total):
                total.append(found)
            else:
                total[place] = total[place].absorb(found)
    if not sum(part.n for part in total):
        raise RunError("images.train: no image has a label, to which a probe could be fitted")
    return total


def sums_of_parts(
    rows: pa.Table,
    network: str,
    classes: int,
    spaces: dict[str, torch.Tensor],
    edges: np.ndarray | None,
    device: torch.device,
) -> list[SourceMoments]:
    """Return the sums over some rows, those of each of the PARTS by themselves."""
    F = float64_rows(column_vectors(rows, network), device)
    F = F @ spaces["features"].double() if spaces else F
    part, label = parts_and_labels(rows["image_id"].to_pylist(), rows["label"].to_numpy(), edges, device)
    return [label_moments(F[part == place], label[part == place], classes, device) for place in range(len(PARTS))]


if __name__ == "__main__":
    main(probe, __doc__)
