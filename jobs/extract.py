"""Images -> feature tables, one column for each network: Ray Data decodes on CPUs and computes features on GPUs.

python -m jobs.extract lite --set images.train=photos/train.csv --set images.val=photos/val.csv
"""

from __future__ import annotations

import pyarrow as pa

from jobs.cluster.commands import main
from jobs.cluster.runs import Run
from jobs.extraction.checks import check_labels, describe_all
from jobs.extraction.unfinished_tables import compute_passes, finish_pass, number_rows, plan_pass
from lib.errors import ExperimentError
from lib.experiment.layout import SPLITS
from lib.experiment.settings import Experiment
from lib.images.labels import read_classes
from lib.images.listing import list_images
from lib.storage.files import write_bytes


def extract(run: Run) -> int:
    """Make what is missing of the feature tables, and return how many tables that were.

    A network that has a column in a finished table is not extracted again.
    """
    experiment = run.experiment
    listings = {split: list_split(experiment, split) for split in SPLITS}
    described = describe_all(experiment.networks, run.begun)
    if not len(listings["val"]["label"].drop_null()):
        raise ExperimentError("images.val: no image there has a label, so that nothing can be evaluated")
    for split in SPLITS:
        images = experiment.images
        check_labels(f"images.{split}", images.split(split), images.classes, listings[split], described)
    for name, network in described.items():
        write_bytes(run.files.classifier(name), network.classifier)
    numbered = number_rows(listings)
    planned = [plan_pass(run, split, numbered, described) for split in SPLITS]
    passes = [plan for plan in planned if plan is not None]
    for networks in dict.fromkeys(plan.networks for plan in passes):
        compute_passes(run, [plan for plan in passes if plan.networks == networks], described)
    for plan in passes:
        finish_pass(run, plan)
    return len(passes)


def list_split(experiment: Experiment, split: str) -> pa.Table:
    """List the images of one split, as the experiment limits them."""
    return list_images(experiment.images.split(split), read_classes(experiment.images), experiment.limit)


if __name__ == "__main__":
    main(extract, __doc__, reads_images=True)
