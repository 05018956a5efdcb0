"""What the cluster has or may grow to: how much can run at once, and what could never run."""

from __future__ import annotations

from dataclasses import dataclass

import ray

from lib.errors import RunError
from lib.experiment.settings import Experiment, ExtractSettings, FitSettings

WRITE_CPUS = 0.25  # of a task that writes a part of a feature table
PLANNING_CPUS = 0.01  # of a task that says which rows others read
READ_CPUS = 0.5  # of a task that reads one for a streamed fit


@dataclass(frozen=True)
class Capacity:
    """The resources of all nodes together.

    An autoscaling cluster starts from nothing, and Ray does not tell jobs how far it may grow. Its head has the
    resources `max_cpus` and `max_gpus` for that (cluster.yaml).
    """

    cpus: float
    gpus: int
    node_cpus: float  # of the largest node; nobody knows the nodes that are still to come

    @classmethod
    def now(cls) -> Capacity:
        """Ask the running Ray."""
        resources = ray.cluster_resources()
        nodes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
        return cls(
            cpus=max(resources.get("CPU", 0), resources.get("max_cpus", 0)),
            gpus=int(max(resources.get("GPU", 0), resources.get("max_gpus", 0))),
            node_cpus=max([*nodes, resources.get("max_cpus", 0)]),
        )

    def actors(self, settings: ExtractSettings) -> int:
        """Return how many actors with the networks there may be. Raises RunError if not even one could start."""
        self._check("extract.network_cpus", settings.network_cpus)
        self._check("extract.decode_cpus", settings.decode_cpus)
        needed = settings.network_cpus + settings.decode_cpus + WRITE_CPUS
        if self.cpus < needed:
            raise RunError(
                f"the cluster has {self.cpus:g} CPUs, extraction needs {needed:g}: lower extract.network_cpus "
                f"({settings.network_cpus:g}) or extract.decode_cpus ({settings.decode_cpus:g}). {GROWING}"
            )
        room = self.gpus or max(1, int(self.cpus // (2 * settings.network_cpus)))  # the other half decodes
        return min(room, settings.max_actors or room)

    def fits(self, settings: FitSettings, streamed: bool = False) -> int:
        """Return how many fits by Adam may run side by side. Raises RunError if not even one could.

        Fits whose rows are `streamed` leave CPUs for the tasks that read.
        """
        self._check("fit.cpus", settings.cpus)
        room = min(self.gpus or self.cpus, self.cpus // (settings.cpus + (READ_CPUS if streamed else 0)))
        if room < settings.workers:
            has = f"{self.gpus} GPUs" if 0 < self.gpus < settings.workers else f"{self.cpus:g} CPUs"
            raise RunError(
                f"the cluster has {has}, a fit needs {settings.workers} workers of {settings.cpus} CPUs"
                f"{' and a GPU' if self.gpus else ''}: lower fit.workers or fit.cpus. {GROWING}"
            )
        return int(room // settings.workers)

    def _check(self, field: str, cpus: float) -> None:
        if cpus > self.node_cpus:
            raise RunError(f"{field} is {cpus:g}, the largest node has {self.node_cpus:g} CPUs: lower it. {GROWING}")


def one_machine() -> bool:
    """Return whether all that Ray has, and will ever have, is one machine."""
    return len(ray.nodes()) == 1 and "max_cpus" not in ray.cluster_resources()


GROWING = "(If the cluster can grow, give its head the resources max_cpus and max_gpus, as cluster.yaml does)"


def check_capacity(experiment: Experiment) -> None:
    """Raise RunError if a stage would wait for ever for resources that cannot come."""
    capacity = Capacity.now()
    capacity.actors(experiment.extract)
    if "affine" in experiment.fit.families:
        capacity.fits(experiment.fit)
