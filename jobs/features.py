"""Listed images -> a stream of features: Ray Data decodes on CPUs, actors with the networks compute on GPUs.

What jobs.extract writes into tables, and jobs.validate judges on the fly.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from jobs.capacity import Capacity, one_machine
from jobs.command import RunError
from lib import experiment as settings
from lib.descriptions import Describing, Description, describe
from lib.experiment import ExperimentError
from lib.images import DecodeImages
from lib.listing import detect_format, tree_classes
from lib.memory import ONE_HEAP


def describe_all(networks: dict[str, settings.Network], begun: Describing | None = None) -> dict[str, Description]:
    """Each network's description: made on this machine, where that may have `begun`, if Ray has no other.

    Else on its nodes, where weights may lie: also where Ray, given no address, found a cluster that runs here.
    """
    if one_machine():
        return (begun or Describing(networks)).descriptions
    there = ray.remote(num_cpus=1)(describe)
    return dict(zip(networks, ray.get([there.remote(*one) for one in networks.items()]), strict=True))


def check_labels(
    what: str, split: settings.Split, classes: str | None, listing: pa.Table, described: dict[str, Description]
) -> None:
    """Raise ExperimentError where a label can't be one of a network's classes: they would all count as wrong.

    `what` names the images in the message, `classes` is the file of class names or None.
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


def tree_size(split: settings.Split) -> int | None:
    """How many class folders a tree has; None for the other formats, which carry their labels."""
    return len(tree_classes(split)) if detect_format(split) == "tree" else None


def stream(
    listing: list[pa.Table],
    networks: dict[str, settings.Network],
    described: dict[str, Description],
    options: settings.Extract,
    max_pixels: int,
    tally: ray.actor.ActorHandle | None = None,
) -> ray.data.Dataset:
    """Fetch, decode and compute, all at once, each with the resources that it asks for: rows of the feature schema.

    `listing` comes in blocks (jobs.parts), whose order the rows keep.

    Where there is a `tally`, it counts what is computed.
    Decoding asks for other resources than the networks, since Ray Data would fuse equal ones and decode in the actor.
    """
    capacity = Capacity.now()
    actors = capacity.actors(options)
    distinct = list(dict.fromkeys(described[name].geometry for name in networks))
    geometries = {name: distinct.index(described[name].geometry) for name in networks}
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    rows = ray.data.from_blocks(listing)  # from_arrow would have a task look at each block: a process more to wait for
    images = rows.map_batches(
        DecodeImages(distinct, max_pixels),
        batch_format="pyarrow",
        batch_size=min(max(map(len, listing)), options.batch_size),
        num_cpus=options.decode_cpus,
    )
    return images.map_batches(
        CountedExtractFeatures,
        fn_constructor_args=(tally, networks, geometries, options),
        batch_format="numpy",
        batch_size=options.batch_size,
        compute=pool(min(options.min_actors, actors), actors, 1 if capacity.gpus else 2),
        num_cpus=options.network_cpus,
        num_gpus=1 if capacity.gpus else None,
        runtime_env={"env_vars": ONE_HEAP},
    )


def pool(smallest: int, largest: int, at_once: int) -> ray.data.ActorPoolStrategy:
    """Actors that have so many batches at once: where there are two, the next one's images keep a CPU's threads busy
    while the last ones of a batch are computed, and while it comes and goes. A GPU's memory is for one.
    """
    return ray.data.ActorPoolStrategy(
        min_size=smallest, max_size=largest, max_concurrent_calls_per_actor=at_once, enable_true_multi_threading=True
    )


class CountedExtractFeatures:
    """lib.features.ExtractFeatures, each of whose batches is counted where there is a tally."""

    def __init__(
        self,
        tally: ray.actor.ActorHandle | None,
        networks: dict[str, settings.Network],
        geometries: dict[str, int],
        options: settings.Extract,
    ) -> None:
        from lib.features import ExtractFeatures  # with torch and timm, which the driver may do without

        self.extract = ExtractFeatures(networks, geometries, options)
        self.tally = tally

    def __call__(self, batch: dict[str, np.ndarray]) -> pa.Table:
        features = self.extract(batch)
        if self.tally is not None:
            ray.get(self.tally.add.remote(Counter(batch["split"].tolist())))
        return features


def check_rejected(what: str, rejected: int, listed: int, allowed: float, few: list[str]) -> None:
    """Raise RunError where more images are unreadable than are allowed; `few` are some of them with their reasons."""
    if rejected > allowed * listed:
        raise RunError(
            f"{what}: {rejected} of {listed} images can't be read, images.max_rejected allows {allowed:.2%}. "
            f"{'; '.join(few)}. Mend them, or set images.max_rejected higher, and run the same command again"
        )
