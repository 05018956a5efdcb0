"""Listed images -> a stream of features: Ray Data decodes on CPUs, actors with the networks compute on GPUs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import ray

from jobs.cluster.capacity import PLANNING_CPUS, Capacity
from jobs.extraction.careful import CountedDecodeImages, CountedExtractFeatures
from jobs.extraction.listed import NumberedImages, ranges_table
from lib.experiment.network_settings import NetworkSettings
from lib.experiment.settings import ExtractSettings
from lib.images.batches import distinct_geometries
from lib.networks.descriptions import Description
from lib.networks.memory import ONE_HEAP


def stream_features(
    images: NumberedImages,
    pieces: np.ndarray,
    networks: dict[str, NetworkSettings],
    described: dict[str, Description],
    settings: ExtractSettings,
    max_pixels: int,
    tally: ray.actor.ActorHandle | None = None,
) -> ray.data.Dataset:
    """Fetch, decode and compute features of listed images, all at once. Batches are as lib.images.batches says.

    A task reads the rows of one piece (jobs.extraction.parts) from `images`, and decodes them; the order of `pieces`
    (n, 2) stays. `tally` counts the computed images; None counts nothing. The stream's plan holds numbers, and makes a
    block of each piece as tasks come to it. Decoding asks for other resources than the networks, since Ray Data fuses
    operators that ask for equal ones, and would then decode in the actor.
    """
    capacity = Capacity.now()
    actors = capacity.actors(settings)
    geometries = {name: geometry for name in networks if (geometry := described[name].geometry) is not None}
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    decode = CountedDecodeImages(tally, distinct_geometries(geometries), max_pixels)
    # One task cuts the one block, as others take what it has cut; it must not hold a whole CPU, as it would by itself.
    single = ray.data.from_blocks([ranges_table(pieces)]).repartition(target_num_rows_per_block=1)
    single._logical_plan.dag.ray_remote_args["num_cpus"] = PLANNING_CPUS
    decoded = single.map_batches(
        DecodePieces(images, decode, settings.batch_size),
        batch_format="pyarrow",
        batch_size=1,
        num_cpus=settings.decode_cpus,
    )
    return decoded.map_batches(
        CountedExtractFeatures,
        fn_constructor_args=(tally, networks, settings, max_pixels),
        batch_format="pyarrow",
        batch_size=settings.batch_size,
        compute=actor_pool(min(settings.min_actors, actors), actors, 1 if capacity.gpus else 2),
        num_cpus=settings.network_cpus,
        num_gpus=1 if capacity.gpus else None,
        runtime_env={"env_vars": ONE_HEAP},
    )


class DecodePieces:
    """Read the listed images of a piece, and decode them, batch by batch: the CPU's unit of work."""

    def __init__(self, images: NumberedImages, decode: CountedDecodeImages, batch: int) -> None:
        self.images, self.decode, self.batch = images, decode, batch

    def __call__(self, ranges: pa.Table) -> Iterator[pa.Table]:
        """Yield batches with pixels of the rows `first` to `end` of each range."""
        for first, end in zip(ranges["first"].to_pylist(), ranges["end"].to_pylist(), strict=True):
            rows = self.images.read(first, end)
            for start in range(0, len(rows), self.batch):
                yield self.decode(rows.slice(start, self.batch))


def actor_pool(smallest: int, largest: int, batches: int) -> ray.data.ActorPoolStrategy:
    """Return a pool whose actors have `batches` batches at once.

    On a CPU a second batch keeps the threads busy while the first batch's last images are computed, and while batches
    come and go. A GPU's memory is for one batch.
    """
    return ray.data.ActorPoolStrategy(
        min_size=smallest, max_size=largest, max_concurrent_calls_per_actor=batches, enable_true_multi_threading=True
    )
