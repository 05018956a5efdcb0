"""Checks before images are extracted, and after: networks that can be split, labels that fit, few rejects."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import ray

from jobs.cluster.capacity import one_machine
from lib.errors import ExperimentError, RunError
from lib.experiment.settings import NetworkSettings, Split
from lib.images.formats import detect_format
from lib.images.labels import tree_classes
from lib.networks.descriptions import Describing, Description, describe_network


def describe_all(networks: dict[str, NetworkSettings], begun: Describing | None = None) -> dict[str, Description]:
    """Return each network's description.

    On one machine it is made by a process there, which may have `begun`. On a cluster the nodes make it, since weights
    may lie on the nodes alone.
    """
    if one_machine():
        return (begun or Describing(networks)).descriptions
    there = ray.remote(num_cpus=1)(describe_network)
    return dict(zip(networks, ray.get([there.remote(*named) for named in networks.items()]), strict=True))


def check_labels(
    what: str, split: Split, classes: str | None, listing: pa.Table, described: dict[str, Description]
) -> None:
    """Raise ExperimentError if a label cannot be one of a network's classes, since all would count as wrong.

    `what` names the images in the message. `classes` is the file of class names, None if there is none.
    """
    labels = listing["label"].drop_null()
    if not len(labels):
        return
    largest = pc.max(labels).as_py()
    folders = None if classes else tree_size(split)
    for name, network in described.items():
        count = network.classes
        if largest >= count:
            raise ExperimentError(
                f"{what}: label {largest}, but network {name!r} has {count} classes (0 to {count - 1})"
            )
        if folders is not None and folders != count:
            raise ExperimentError(
                f"{what}: {folders} class folders, but network {name!r} has {count} classes. "
                "A folder's place among all classes is its label: give images.classes, a file of all class names"
            )


def tree_size(split: Split) -> int | None:
    """Return how many class folders a tree has. Return None for other formats, which carry their labels."""
    return len(tree_classes(split)) if detect_format(split) == "tree" else None


def check_rejected(what: str, rejected: int, listed: int, allowed: float, few: list[str]) -> None:
    """Raise RunError if more images are unreadable than allowed. `few` names some of them with their reasons."""
    if rejected > allowed * listed:
        raise RunError(
            f"{what}: {rejected} of {listed} images are rejected, images.max_rejected allows {allowed:.2%}. "
            f"{'; '.join(few)}. Mend them or set images.max_rejected higher, then run the same command again"
        )
