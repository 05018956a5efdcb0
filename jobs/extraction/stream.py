"""Listed images -> a stream of features: Ray Data decodes on CPUs, actors with the networks compute on GPUs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import ray

from jobs.cluster.capacity import Capacity
from lib.experiment.settings import ExtractSettings, NetworkSettings
from lib.images.batches import DecodeImages
from lib.networks.descriptions import Description
from lib.networks.memory import ONE_HEAP


def stream_features(
    listing: list[pa.Table],
    networks: dict[str, NetworkSettings],
    described: dict[str, Description],
    options: ExtractSettings,
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
        compute=actor_pool(min(options.min_actors, actors), actors, 1 if capacity.gpus else 2),
        num_cpus=options.network_cpus,
        num_gpus=1 if capacity.gpus else None,
        runtime_env={"env_vars": ONE_HEAP},
    )


def actor_pool(smallest: int, largest: int, at_once: int) -> ray.data.ActorPoolStrategy:
    """Actors that have so many batches at once: where there are two, the next one's images keep a CPU's threads busy
    while the last ones of a batch are computed, and while it comes and goes. A GPU's memory is for one.
    """
    return ray.data.ActorPoolStrategy(
        min_size=smallest, max_size=largest, max_concurrent_calls_per_actor=at_once, enable_true_multi_threading=True
    )


class CountedExtractFeatures:
    """lib.features.extraction.ExtractFeatures, each of whose batches is counted where there is a tally."""

    def __init__(
        self,
        tally: ray.actor.ActorHandle | None,
        networks: dict[str, NetworkSettings],
        geometries: dict[str, int],
        options: ExtractSettings,
    ) -> None:
        from lib.features.extraction import ExtractFeatures  # with torch and timm, which the driver may do without

        self.extract = ExtractFeatures(networks, geometries, options)
        self.tally = tally

    def __call__(self, batch: dict[str, np.ndarray]) -> pa.Table:
        features = self.extract(batch)
        if self.tally is not None:
            ray.get(self.tally.add.remote(Counter(batch["split"].tolist())))
        return features
