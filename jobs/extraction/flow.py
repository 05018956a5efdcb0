"""How far images have come between their listing and their table, and so what an extraction waits for.

Ray Data tells its queues to its own progress bars alone while it runs (Dataset.stats() is for the time afterwards), so
the tally counts what leaves each step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import ray

from jobs.cluster.capacity import WRITE_CPUS
from lib.experiment.settings import ExtractSettings

NETWORKS, DECODED, BEGUN, COMPUTED, WRITTEN = "networks", "decoded", "begun", "computed", "written"


@dataclass(frozen=True)
class Flow:
    """What is needed to say what an extraction waits for.

    `total` images are to be done; `batch` go into an actor at once, `part` into a file.
    """

    total: int
    batch: int
    part: int
    machines: Callable[[], bool]  # whether the cluster has machines for decoding and the networks just now

    def waits(self, passed: Mapping[str, int]) -> str:
        """Return what the extraction waits for, the last step first, since a full queue stops what is before it.

        `passed` has how many images passed each step, and how many actors have loaded their networks. Work that Ray
        repeats after a death counts twice, so that a queue may seem longer than it is.
        """
        decoded, begun = passed.get(DECODED, 0), passed.get(BEGUN, 0)
        computed, written = passed.get(COMPUTED, 0), passed.get(WRITTEN, 0)
        if not self.machines():
            return "waiting for machines"
        if not passed.get(NETWORKS):
            return "waiting for networks to load"
        if computed >= self.total:
            return "waiting for writing"
        if computed - written >= 3 * self.part:  # one gathers, one is written, one more waits
            return f"waiting for writing ({computed - written:,} computed)"
        if decoded - begun >= min(self.batch, self.total):
            return f"waiting for networks ({decoded - begun:,} decoded)"
        if decoded < self.total:
            return "waiting for decoding"
        return "waiting for networks (the last images)"


def machines_there(settings: ExtractSettings, gpu: bool) -> bool:
    """Return whether the cluster has the CPUs, and the GPU if one is wanted, for one actor and decoding beside it.

    An autoscaling cluster may not have them yet, or not any more.
    """
    now = ray.cluster_resources()
    needed = settings.network_cpus + settings.decode_cpus + WRITE_CPUS
    return now.get("CPU", 0) >= needed and (not gpu or now.get("GPU", 0) >= 1)
