"""Checks before images are extracted, and after: networks that can be split, labels that fit, few rejects."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import ray

from jobs.cluster.capacity import one_machine
from jobs.cluster.in_turn import answer
from lib.errors import ExperimentError, RunError
from lib.experiment.network_settings import NetworkSettings
from lib.experiment.settings import FitSettings, Split
from lib.experiment.variants import PARTS, Variant
from lib.images.formats import detect_format
from lib.images.labels import tree_classes
from lib.networks.descriptions import Describing, Description, describe_network
from lib.storage.files import files_below
from lib.storage.uris import join_uri

FOLDERS_TELL_LABELS = "A folder's place among all classes is its label: give images.classes, a file of all class names"


def describe_all(networks: dict[str, NetworkSettings], begun: Describing | None = None) -> dict[str, Description]:
    """Return each network's description.

    A process that has `begun` on this machine makes it, else tasks: on a cluster weights may lie on the nodes alone,
    and processes that have just trained the demo's networks have torch and timm already.
    """
    if begun is not None and one_machine():
        return begun.descriptions
    there = ray.remote(num_cpus=1)(describe_network)
    tasks = [there.remote(*named) for named in networks.items()]
    return dict(zip(networks, map(answer, tasks), strict=True))


def classifying(described: Mapping[str, Description]) -> dict[str, Description]:
    """Return the networks whose classes are known: those with a classifier that is not still to be fitted."""
    return {name: network for name, network in described.items() if network.classes is not None}


def check_classes(
    splits: Mapping[str, Split], file: str | None, names: list[str] | None, described: dict[str, Description]
) -> None:
    """Raise ExperimentError if there are not as many class names as each network has classes.

    `names` are those of `file`, None if there is no such file. Then the folders of each split that is a tree are the
    names, and they must be the same in all splits. `splits` has each split by its name in messages.
    """
    if names is not None:
        for name, network in classifying(described).items():
            if len(names) != network.classes:
                raise ExperimentError(
                    f"{file} has {len(names)} class names, but network {name!r} has {network.classes} classes. "
                    f"Expected all class names, one on each line, without a header; the first line is {names[0]!r}"
                )
        return
    trees = {what: tree_classes(split) for what, split in splits.items() if detect_format(split) == "tree"}
    for what, folders in trees.items():
        for name, network in classifying(described).items():
            if folders and len(folders) != network.classes:
                raise ExperimentError(
                    f"{what}: {len(folders)} class folders, but network {name!r} has {network.classes} classes."
                    f"{_empty_folders(splits[what], folders)} {FOLDERS_TELL_LABELS}"
                )
    for (one, folders), (other, others) in pairwise(trees.items()):
        if folders != others:
            differing = sorted(set(folders) ^ set(others))
            raise ExperimentError(
                f"{one} and {other} have other class folders, such as {differing[:3]}. {FOLDERS_TELL_LABELS}"
            )


def check_same_classes(described: dict[str, Description]) -> None:
    """Raise ExperimentError if networks have different numbers of classes: one label would mean two things."""
    counts = {name: network.classes for name, network in classifying(described).items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name!r} has {count}" for name, count in counts.items())
        raise ExperimentError(
            f"networks: all must have the same classes, in the same order, but {listed}. A background class is none of "
            "them: see class_offset"
        )


def check_training_rows(count: int, fit: FitSettings) -> None:
    """Raise ExperimentError if closed forms have too few training images for their cross-validation."""
    summed = [family for family in fit.families if Variant(family).needs_sums]
    if count < len(PARTS) and summed:
        raise ExperimentError(
            f"images.train: {count} images, but fit.families {summed} need {len(PARTS)} or more, one for each part of "
            "the cross-validation"
        )


def _empty_folders(split: Split, folders: list[str]) -> str:
    """Return a sentence that names the folders with nothing in them, if there are any."""
    empty = [folder for folder in folders if not files_below(join_uri(split.location, folder), recursive=True)]
    return f" These folders are empty: {empty[:5]}." if empty else ""


def check_labels(what: str, largest: int | None, described: dict[str, Description]) -> None:
    """Raise ExperimentError if the largest label is none of a network's classes, since all would count as wrong.

    `what` names the images in the message.
    """
    for name, network in classifying(described).items():
        if largest is not None and network.classes is not None and largest >= network.classes:
            raise ExperimentError(
                f"{what}: label {largest}, but network {name!r} has {network.classes} classes (0 to "
                f"{network.classes - 1})"
            )


def check_rejected(what: str, rejected: int, listed: int, allowed: float, few: list[str]) -> None:
    """Raise RunError if more images are unreadable than allowed. `few` names some of them with their reasons."""
    if rejected > allowed * listed:
        raise RunError(
            f"{what}: {rejected} of {listed} images are rejected, images.max_rejected allows {allowed:.2%}. "
            f"{'; '.join(few)}. Mend them or set images.max_rejected higher, then run the same command again"
        )
