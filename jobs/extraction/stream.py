"""Listed images -> a stream of features: Ray Data decodes on CPUs, actors with the networks compute on GPUs."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import ray

from jobs.cluster.capacity import Capacity
from jobs.extraction.flow import BEGUN, DECODED, NETWORKS
from lib.experiment.network_settings import NetworkSettings
from lib.experiment.settings import ExtractSettings
from lib.images.batches import DecodeImages, distinct_geometries
from lib.images.geometry import Geometry
from lib.networks.descriptions import Description
from lib.networks.memory import ONE_HEAP


def stream_features(
    listing: list[pa.Table],
    networks: dict[str, NetworkSettings],
    described: dict[str, Description],
    settings: ExtractSettings,
    max_pixels: int,
    tally: ray.actor.ActorHandle | None = None,
) -> ray.data.Dataset:
    """Fetch, decode and compute features of listed images, all at once. Batches are as lib.images.batches says.

    `listing` comes in blocks (jobs.extraction.parts), whose order the rows keep. `tally` counts the computed images;
    None counts nothing. Decoding asks for other resources than the networks, since Ray Data fuses operators that ask
    for equal ones, and would then decode in the actor.
    """
    capacity = Capacity.now()
    actors = capacity.actors(settings)
    geometries = {name: geometry for name in networks if (geometry := described[name].geometry) is not None}
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    rows = ray.data.from_blocks(listing)  # from_arrow starts a process to look at each block
    images = rows.map_batches(
        CountedDecodeImages(tally, distinct_geometries(geometries), max_pixels),
        batch_format="pyarrow",
        batch_size=min(max(map(len, listing)), settings.batch_size),
        num_cpus=settings.decode_cpus,
    )
    return images.map_batches(
        CountedExtractFeatures,
        fn_constructor_args=(tally, networks, settings),
        batch_format="pyarrow",
        batch_size=settings.batch_size,
        compute=actor_pool(min(settings.min_actors, actors), actors, 1 if capacity.gpus else 2),
        num_cpus=settings.network_cpus,
        num_gpus=1 if capacity.gpus else None,
        runtime_env={"env_vars": ONE_HEAP},
    )


def actor_pool(smallest: int, largest: int, batches: int) -> ray.data.ActorPoolStrategy:
    """Return a pool whose actors have `batches` batches at once.

    On a CPU a second batch keeps the threads busy while the first batch's last images are computed, and while batches
    come and go. A GPU's memory is for one batch.
    """
    return ray.data.ActorPoolStrategy(
        min_size=smallest, max_size=largest, max_concurrent_calls_per_actor=batches, enable_true_multi_threading=True
    )


class CountedDecodeImages(DecodeImages):
    """lib.images.batches.DecodeImages, which also counts its images in the tally, if there is one."""

    def __init__(self, tally: ray.actor.ActorHandle | None, geometries: list[Geometry], max_pixels: int) -> None:
        super().__init__(geometries, max_pixels)
        self.tally = tally

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return LISTING rows as a batch with pixels."""
        batch = super().__call__(rows)
        if self.tally is not None:
            self.tally.count.remote(DECODED, len(batch))
        return batch


class CountedExtractFeatures:
    """lib.features.extraction.ExtractFeatures, which also counts its images in the tally, if there is one."""

    def __init__(
        self,
        tally: ray.actor.ActorHandle | None,
        networks: dict[str, NetworkSettings],
        settings: ExtractSettings,
    ) -> None:
        from lib.features.extraction import ExtractFeatures  # with torch and timm, which the driver may do without

        self.extract = ExtractFeatures(networks, settings)
        self.tally = tally
        if tally is not None:
            tally.count.remote(NETWORKS, 1)

    def __call__(self, batch: pa.Table) -> pa.Table:
        if self.tally is not None:
            self.tally.count.remote(BEGUN, len(batch))
        features = self.extract(batch)
        if self.tally is not None:
            ray.get(self.tally.add.remote(Counter(batch["split"].to_pylist())))
        return features
