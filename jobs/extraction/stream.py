"""Listed images -> a stream of features: Ray Data decodes on CPUs, actors with the networks compute on GPUs."""

from __future__ import annotations

import pyarrow as pa
import ray

from jobs.cluster.capacity import Capacity
from jobs.extraction.careful import CountedDecodeImages, CountedExtractFeatures
from lib.experiment.settings import ExtractSettings, NetworkSettings
from lib.images.batches import distinct_geometries
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
    geometries = {name: described[name].geometry for name in networks}
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
