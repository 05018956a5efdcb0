"""How well mapped features meet the target's own, on a sample of images: a task for each block of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pyarrow as pa
import ray

from jobs.cluster.capacity import Capacity
from jobs.cluster.progress import wait_for
from jobs.evaluation.blocks import Pair, blocks_of_pairs
from lib.evaluation.results import FeatureFit, Retrieval
from lib.experiment.layout import Layout
from lib.experiment.variants import Variant
from lib.features.tables import FeatureTables

SIDE = 4  # networks by networks of one task, which holds the samples of both


@dataclass(frozen=True)
class MappedFeatures:
    """What is measured of each pair's main map."""

    fits: Mapping[Pair, FeatureFit]
    directions: Mapping[Pair, pa.Table]  # DIRECTIONS
    retrieval: Mapping[Pair, dict[str, Retrieval]]  # by variant, among the images that a learning curve's maps rank


def measure_mapped(
    files: Layout, tables: FeatureTables, networks: Sequence[str], variants: Sequence[Variant], rows: int
) -> MappedFeatures:
    """Measure every pair's map of the first variant on `rows` evaluation images, the same for all pairs, and what the
    queries of all these variants find.
    """
    resources = {"num_cpus": 1, "num_gpus": 1 if Capacity.now().gpus else 0}
    pairs = list(permutations(networks, 2))
    tasks = [
        measure_block.options(**resources).remote(files, tables, block, variants, rows)
        for block in blocks_of_pairs(networks, set(pairs), SIDE)
    ]
    by_pair: dict[Pair, MappedFeatures] = {}
    for measured in wait_for("evaluate", "blocks of mapped features", tasks):
        by_pair |= dict.fromkeys(measured.fits, measured)
    return MappedFeatures(
        {pair: by_pair[pair].fits[pair] for pair in pairs},
        {pair: by_pair[pair].directions[pair] for pair in pairs},
        {pair: by_pair[pair].retrieval[pair] for pair in pairs},
    )


@ray.remote
def measure_block(
    files: Layout, tables: FeatureTables, pairs: list[Pair], variants: Sequence[Variant], rows: int
) -> MappedFeatures:
    """Return what is measured of these pairs' maps."""
    from jobs.evaluation import mapped_blocks  # with torch, which the tasks alone need

    return MappedFeatures(*mapped_blocks.measure_block(files, tables, pairs, variants, rows))


def retrieval_rows(
    mapped: MappedFeatures, described: Mapping[Pair, Mapping[str, Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Return the rows of retrieval.parquet, each pair's maps of all training rows behind those of few.

    `described` has for each pair what manifests say of its maps by variant, those of a learning curve among them.
    """
    rows = []
    for pair, found in mapped.retrieval.items():
        known = {name: said["retrieval"] for name, said in described[pair].items() if "retrieval" in said}
        for name, theirs in [*known.items(), *found.items()]:
            which = {"source": pair[0], "target": pair[1], "variant": name}
            rows.append({**which, "training_rows": described[pair].get(name, {}).get("training_rows"), **theirs})
    return rows
