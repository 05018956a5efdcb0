"""CKA and shared neighbours of each two networks: a task for each block of networks, whose features it reads once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from itertools import combinations
from operator import add

import numpy as np
import ray

from jobs.cluster.capacity import Capacity
from jobs.cluster.sums import distributed_sum
from lib.evaluation.cka import CrossSums, Directions
from lib.evaluation.neighbours import nearest_neighbours, neighbour_overlap
from lib.evaluation.results import MeasureResults
from lib.experiment.settings import EvaluateSettings
from lib.experiment.variants import tiles
from lib.features.chunks import SUMMED_ROWS, Chunk, read_chunk, split_into_chunks
from lib.features.sampling import read_sample
from lib.features.tables import FeatureTables
from lib.storage.columns import column_vectors

SIDE = 8  # networks by networks whose products one task sums: 64 matrices of d x d numbers

Pair = tuple[str, str]
Likeness = tuple[float | None, float | None]  # CKA, and its unbiased estimate


def measure_features(
    settings: EvaluateSettings, tables: FeatureTables, networks: list[str]
) -> tuple[list[MeasureResults], dict[str, Directions]]:
    """Return CKA and mutual nearest neighbours of each two networks, and each network's directions."""
    rows = min(tables.rows(networks[0]), settings.neighbour_rows)
    k = min(settings.neighbours, rows - 1)
    near = {network: neighbours.remote(tables, network, rows, k) for network in networks if k > 0}
    blocks = tiles_of_pairs(networks)
    shares = int(Capacity.now().cpus) // len(blocks)  # of the rows, for each block
    started = []
    for pairs in blocks:
        theirs = sorted({network for pair in pairs for network in pair}, key=networks.index)
        chunks = split_into_chunks(tables, theirs, SUMMED_ROWS)
        summand = partial(cross_sums, networks=theirs, pairs=pairs)
        sums = distributed_sum(chunks, summand, shares) if shares > 1 else None
        started.append(measure_block.remote(chunks, summand, pairs, sums, *(near[name] for name in theirs if near)))
    cka: dict[Pair, Likeness] = {}
    overlap: dict[Pair, float] = {}
    directions: dict[str, Directions] = {}
    for theirs, shared, found in ray.get(started):
        cka |= theirs
        overlap |= shared
        directions |= found
    measures: list[MeasureResults] = [
        {
            "a": a,
            "b": b,
            "cka": cka[a, b][0],
            "cka_unbiased": cka[a, b][1],
            "neighbours": overlap[a, b],
            "neighbours_by_chance": k / (rows - 1),
            "k": k,
            "rows": rows,
        }
        for a, b in combinations(networks, 2)
        if k > 0
    ]
    return measures, directions


def tiles_of_pairs(networks: list[str]) -> list[list[Pair]]:
    """Return each two networks once, in blocks that share networks, as many blocks as there are CPUs if possible."""
    side = SIDE
    while True:
        place = {network: number for number, network in enumerate(networks)}
        found = [
            [(a, b) for a in givers for b in takers if place[a] < place[b]] for givers, takers in tiles(networks, side)
        ]
        blocks = [pairs for pairs in found if pairs]
        if side == 1 or len(blocks) >= Capacity.now().cpus:
            return blocks
        side //= 2


def cross_sums(chunk: Chunk, networks: list[str], pairs: list[Pair]) -> CrossSums:
    """Return the sums over a chunk's rows that linear CKA needs."""
    rows = read_chunk(chunk)
    return CrossSums.of({network: column_vectors(rows, network) for network in networks}, pairs)


@ray.remote(num_cpus=1)
def measure_block(
    chunks: list[Chunk],
    summand: Callable[[Chunk], CrossSums],
    pairs: list[Pair],
    sums: CrossSums | None,
    *near: np.ndarray,
) -> tuple[dict[Pair, Likeness], dict[Pair, float], dict[str, Directions]]:
    """Return CKA and shared neighbours of these pairs, and their networks' directions.

    `sums` are summed here unless they are given. `near` are each network's nearest neighbours (rows, k), or nothing.
    """
    found = sums or reduce(add, map(summand, chunks))
    nearest = dict(zip(found.first, near, strict=False))
    return (
        {pair: (found.cka(*pair), found.unbiased_cka(*pair)) for pair in pairs},
        {(a, b): neighbour_overlap(nearest[a], nearest[b]) for a, b in pairs if nearest},
        {network: found.directions(network) for network in found.first},
    )


@ray.remote(num_cpus=1)
def neighbours(tables: FeatureTables, network: str, rows: int, k: int) -> np.ndarray:
    """Return the nearest neighbours (rows, k) among a sample of the images, the same sample for all networks."""
    return nearest_neighbours(read_sample(tables, network, rows).vectors[network], k)
