"""Images -> feature tables, one column for each network: Ray Data decodes on CPUs and computes features on GPUs.

python -m jobs.extract lite --set images.train=photos/train.csv --set images.val=photos/val.csv
"""

from __future__ import annotations

import pyarrow as pa

from jobs.cluster.commands import main
from jobs.cluster.runs import Run
from jobs.extraction.checks import check_labels, describe_all
from jobs.extraction.passes import compute_passes, finish_pass, numbered, plan_pass
from lib.errors import ExperimentError
from lib.experiment.settings import Experiment
from lib.images.labels import read_classes
from lib.images.listing import list_images
from lib.storage.files import write_bytes

SPLITS = ("train", "val")


def extract(run: Run) -> int:
    """Make what is missing of the feature tables; a network that has a column in a finished table needs none."""
    experiment = run.experiment
    listings = {split: list_split(experiment, split) for split in SPLITS}
    described = describe_all(experiment.networks, run.begun)
    if not len(listings["val"]["label"].drop_null()):
        raise ExperimentError("images.val: no image there has a label, so that nothing can be evaluated")
    for split in SPLITS:
        images = experiment.images
        check_labels(f"images.{split}", images.split(split), images.classes, listings[split], described)
    for name, network in described.items():
        write_bytes(run.path("classifiers", f"{name}.safetensors"), network.classifier)
    numbers = numbered(listings)
    passes = [one for split in SPLITS if (one := plan_pass(run, split, numbers, described)) is not None]
    for networks in dict.fromkeys(one.networks for one in passes):
        compute_passes(run, [one for one in passes if one.networks == networks], described)
    for one in passes:
        finish_pass(run, one)
    return len(passes)


def list_split(experiment: Experiment, split: str) -> pa.Table:
    classes = read_classes(experiment.images.classes) if experiment.images.classes else None
    return list_images(experiment.images.split(split), classes, experiment.limit)


if __name__ == "__main__":
    main(extract, __doc__, reads_images=True)
