"""Closed-form maps on a cluster: a task for each source and a block of its targets, as many as its memory holds.

Nothing here imports torch, which the tasks alone need. What they do is in jobs.fitting.closed_forms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import ray

from jobs.cluster.capacity import Capacity
from jobs.cluster.memory import FILL, memory_of_a_task
from jobs.fitting.works import ClosedFormWork, Pair, PairWork
from lib.experiment.layout import Layout
from lib.experiment.settings import FitSettings
from lib.experiment.variants import PARTS, MapKey, by_source
from lib.features.tables import FeatureTables
from lib.storage.manifests import Artifact

BASES = 2 * 20  # matrices of a source besides its sums: its bases, and held-out sums in them
SOURCES = 32  # whose classifiers are joined with a target's at once
JUDGED = 0.2  # share of a task's memory that evaluation features may fill


def start_closed_forms(settings: FitSettings, work: ClosedFormWork) -> list[ray.ObjectRef]:
    """Start the tasks that fit all these maps and write them with their manifests. Return what to wait for."""
    capacity = Capacity.now()
    resources = {"num_cpus": settings.cpus, "num_gpus": 1 if capacity.gpus else 0}
    tasks = max(1, min(int(capacity.cpus // settings.cpus), capacity.gpus or len(work.maps) + len(work.curves)))
    room = FILL * ray.get(memory_of_a_task.options(**resources).remote(settings.cpus, tasks))
    started = [
        fit_block.options(**resources).remote(settings.cpus, work.files, work.train, work.val, block, JUDGED * room)
        for block in blocks_of(pair_works(work), work.train, (1 - JUDGED) * room)
    ]
    others = sorted((key for key in work.maps if not key.variant.needs_sums), key=lambda key: key.target)
    for _, alike in groupby(others, lambda key: key.target):
        keys = list(alike)
        for first in range(0, len(keys), SOURCES):
            mine = {key: work.maps[key] for key in keys[first : first + SOURCES]}
            started.append(join_classifiers.options(**resources).remote(settings.cpus, work.files, work.train, mine))
    return started


def pair_works(work: ClosedFormWork) -> list[PairWork]:
    """Return what is to be fitted from sums, by pair."""
    found: dict[Pair, PairWork] = {}
    for key, artifact in work.maps.items():
        if key.variant.needs_sums:
            found.setdefault(key.pair, PairWork(*key.pair)).maps[key.variant] = artifact
    for pair, curves in work.curves.items():
        found.setdefault(pair, PairWork(*pair)).curves.append(curves)
    return list(found.values())


def blocks_of(works: Sequence[PairWork], tables: FeatureTables, room: float) -> Iterator[list[PairWork]]:
    """Yield blocks of one source's work: as many targets as fit in `room` bytes, one at least."""
    for source, targets in by_source(works).items():
        sizes = tables.sizes([source, *(pair.target for found in targets for pair in found)])
        reached = {network: min(size, tables.rows(source)) for network, size in sizes.items()}
        d_A = reached[source]
        block: list[PairWork] = []
        taken = own = 8.0 * d_A * d_A * (len(PARTS) + BASES)
        for (pair,) in targets:
            more = 8.0 * d_A * reached[pair.target] * (len(PARTS) + 4)  # and the maps of its curves
            if block and taken + more > room:
                yield block
                block, taken = [], own
            block, taken = [*block, pair], taken + more
        yield block


@ray.remote
def fit_block(
    cpus: int, files: Layout, train: FeatureTables, val: FeatureTables, block: list[PairWork], room: float
) -> None:
    """Fit maps of one source, and write them or what they predict, with their manifests."""
    from jobs.fitting import closed_forms

    closed_forms.fit_block(cpus, files, train, val, block, room)


@ray.remote
def join_classifiers(cpus: int, files: Layout, train: FeatureTables, artifacts: Mapping[MapKey, Artifact]) -> None:
    """Make maps to one target from the classifiers alone, and write them with their manifests."""
    from jobs.fitting import closed_forms

    closed_forms.join_classifiers(cpus, files, train, artifacts)
