"""How much memory a worker may fill: its share of its node's, or the GPU's if that is less."""

from __future__ import annotations

import ray

FILL = 0.8  # share of a worker's memory that rows and maps may fill


@ray.remote
def memory_of_a_task(cpus: int, tasks: int) -> float:
    """Return the bytes that each of `tasks` tasks side by side may fill where this one runs."""
    resources = resources_here()
    return worker_memory(max(1, int(min(tasks, resources["CPU"] // cpus))))


def worker_memory(beside: int) -> float:
    """Return the bytes that each of `beside` workers on this node may fill: its share of the node's memory.

    It is the GPU's free memory if that is less.
    """
    resources = resources_here()
    of_the_node = resources["memory"] / beside
    if not resources.get("GPU"):
        return of_the_node
    import torch  # which takes seconds, and which a node without a GPU is not asked for

    return float(min(of_the_node, torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else of_the_node)


def resources_here() -> dict[str, float]:
    """Return the resources of the node on which this runs."""
    here = ray.get_runtime_context().get_node_id()
    (resources,) = [node["Resources"] for node in ray.nodes() if node["NodeID"] == here]
    return dict(resources)
