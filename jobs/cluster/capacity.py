"""What the cluster has, or may grow to: how much can be asked for at once, and what could never come."""

from __future__ import annotations

from dataclasses import dataclass

import ray

from lib.errors import RunError
from lib.experiment.settings import Experiment, ExtractSettings, FitSettings

WRITE_CPUS = 0.25  # of a task that writes a part of a feature table
READ_CPUS = 0.5  # of a task that reads one for a streamed fit


@dataclass(frozen=True)
class Capacity:
    """All nodes' together. An autoscaling cluster starts from nothing and doesn't tell jobs where it ends: its head has
    the resources `max_cpus` and `max_gpus` for that (cluster.yaml).
    """

    cpus: float
    gpus: int
    node_cpus: float  # the most that one node has; of nodes that are still to come nobody knows

    @classmethod
    def now(cls) -> Capacity:
        resources = ray.cluster_resources()
        nodes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
        return cls(
            cpus=max(resources.get("CPU", 0), resources.get("max_cpus", 0)),
            gpus=int(max(resources.get("GPU", 0), resources.get("max_gpus", 0))),
            node_cpus=max([*nodes, resources.get("max_cpus", 0)]),
        )

    def actors(self, options: ExtractSettings) -> int:
        """How many actors with the networks there may be. Raises RunError where not even one could start."""
        self._check("extract.network_cpus", options.network_cpus)
        self._check("extract.decode_cpus", options.decode_cpus)
        needed = options.network_cpus + options.decode_cpus + WRITE_CPUS
        if self.cpus < needed:
            raise RunError(
                f"the cluster has {self.cpus:g} CPUs, extraction needs {needed:g}: lower extract.network_cpus "
                f"({options.network_cpus:g}) or extract.decode_cpus ({options.decode_cpus:g}). {GROWING}"
            )
        room = self.gpus or max(1, int(self.cpus // (2 * options.network_cpus)))  # the other half decodes
        return min(room, options.max_actors or room)

    def fits(self, options: FitSettings, streamed: bool = False) -> int:
        """How many fits by Adam may run side by side. Raises RunError where not even one could.

        Workers whose rows are `streamed` leave CPUs for the tasks that read.
        """
        self._check("fit.cpus", options.cpus)
        room = min(self.gpus or self.cpus, self.cpus // (options.cpus + (READ_CPUS if streamed else 0)))
        if room < options.workers:
            has = f"{self.gpus} GPUs" if 0 < self.gpus < options.workers else f"{self.cpus:g} CPUs"
            raise RunError(
                f"the cluster has {has}, a fit needs {options.workers} workers of {options.cpus} CPUs"
                f"{' and a GPU' if self.gpus else ''}: lower fit.workers or fit.cpus. {GROWING}"
            )
        return int(room // options.workers)

    def _check(self, field: str, cpus: float) -> None:
        if cpus > self.node_cpus:
            raise RunError(f"{field} is {cpus:g}, the largest node has {self.node_cpus:g} CPUs: lower it. {GROWING}")


def one_machine() -> bool:
    """Whether all that Ray has, and will ever have, is one machine."""
    return len(ray.nodes()) == 1 and "max_cpus" not in ray.cluster_resources()


GROWING = "(Of a cluster that grows, give the head the resources max_cpus and max_gpus, as cluster.yaml does)"


def check_capacity(experiment: Experiment) -> None:
    """Raise RunError where a stage would wait for ever for what can't come."""
    capacity = Capacity.now()
    capacity.actors(experiment.extract)
    if "affine" in experiment.fit.families:
        capacity.fits(experiment.fit)
