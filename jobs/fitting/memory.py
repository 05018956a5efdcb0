"""How much memory a worker of Ray Train has, and which fits pass their rows through it in a stream."""

from __future__ import annotations

from collections.abc import Sequence

import ray

from jobs.cluster.capacity import Capacity
from lib.experiment.settings import FitSettings
from lib.features.tables import FeatureTables

SMALL = 2**30  # bytes that every machine has
FILL = 0.8  # share of a worker's memory that rows and maps may fill


def streamed_pairs(
    settings: FitSettings, tables: FeatureTables, pairs: Sequence[tuple[str, str]]
) -> frozenset[tuple[str, str]]:
    """Return the pairs whose rows pass through the workers because they would not fit there.

    `fit.rows` decides, unless it is "auto". Whether a pair is streamed does not depend on the others.
    """
    if settings.rows != "auto":
        return frozenset(pairs) if settings.rows == "streamed" else frozenset()
    sizes = {pair: tables.rows(pair[0]) * 4 * sum(tables.sizes(pair).values()) for pair in pairs}
    if all(size < SMALL for size in sizes.values()):
        return frozenset()
    capacity = Capacity.now()
    asked = memory_of_a_fit.options(num_cpus=settings.cpus, num_gpus=1 if capacity.gpus else 0)
    room = FILL * ray.get(asked.remote(settings.cpus, capacity.fits(settings)))
    return frozenset(pair for pair, size in sizes.items() if size >= SMALL and size > room)


@ray.remote
def memory_of_a_fit(cpus: int, fits: int) -> float:
    """Return the bytes that each of `fits` fits side by side may fill where this task runs."""
    resources = resources_here()
    return worker_memory(max(1, int(min(fits, resources["CPU"] // cpus))))


def worker_memory(beside: int) -> float:
    """Return the bytes that each of `beside` workers on this node may fill: its share of the node's memory.

    It is the GPU's free memory if that is less.
    """
    import torch

    of_the_node = resources_here()["memory"] / beside
    return float(min(of_the_node, torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else of_the_node)


def resources_here() -> dict[str, float]:
    """Return the resources of the node on which this runs."""
    here = ray.get_runtime_context().get_node_id()
    (resources,) = [node["Resources"] for node in ray.nodes() if node["NodeID"] == here]
    return dict(resources)
