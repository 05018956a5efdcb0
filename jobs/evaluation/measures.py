"""CKA and shared neighbours of each two networks: a task for each block of networks, whose features it reads once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from itertools import combinations
from operator import add

import numpy as np
import ray

from jobs.cluster.capacity import Capacity
from jobs.cluster.progress import wait_for
from jobs.cluster.sums import distributed_sum
from jobs.evaluation.blocks import Pair, blocks_of_pairs
from lib.evaluation.agreement import Z
from lib.evaluation.cka import CrossSums, Directions
from lib.evaluation.neighbours import nearest_neighbours, neighbour_overlap
from lib.evaluation.permutations import FEWEST, calibrated_cka, calibrated_neighbours, centred_kernel
from lib.evaluation.results import MeasureResults
from lib.evaluation.shapes import participation_ratio, procrustes_angle
from lib.experiment.settings import EvaluateSettings
from lib.features.chunks import SUMMED_ROWS, Chunk, read_chunk, split_into_chunks
from lib.features.sampling import read_sample
from lib.features.tables import FeatureTables
from lib.storage.columns import column_vectors

PERMUTED_ROWS = 1000  # images whose kernels are permuted: n x n numbers of each network
SIDE = 8  # networks by networks whose products one task sums: 64 matrices of d x d numbers


@dataclass(frozen=True, eq=False)
class Sampled:
    """What one network's features of a sample of the images come to, the same images for all networks."""

    near: np.ndarray  # (rows, k): nearest neighbours
    kernel: np.ndarray | None  # (m, m), of the first images; None if they are too few


@dataclass(frozen=True, eq=False)
class Measured:
    """What is measured of networks' features without a map."""

    pairs: list[MeasureResults]
    directions: dict[str, Directions]
    participation: dict[str, float]


def measure_features(settings: EvaluateSettings, tables: FeatureTables, networks: list[str], seed: int) -> Measured:
    """Return how alike each two networks' features are, and each network's directions."""
    rows = min(tables.rows(networks[0]), settings.neighbour_rows)
    k = min(settings.neighbours, rows - 1)
    samples = {network: sample.remote(tables, network, rows, k) for network in networks if k > 0}
    blocks = blocks_of_pairs(networks, set(combinations(networks, 2)), SIDE)
    shares = int(Capacity.now().cpus) // len(blocks)  # of the rows, for each block
    started = []
    for pairs in blocks:
        theirs = sorted({network for pair in pairs for network in pair}, key=networks.index)
        chunks = split_into_chunks(tables, theirs, SUMMED_ROWS)
        summand = partial(cross_sums, networks=theirs, pairs=pairs)
        sums = distributed_sum(chunks, summand, shares) if shares > 1 else None
        own = [samples[name] for name in theirs if samples]
        started.append(measure_block.remote(chunks, summand, pairs, sums, settings.permutations, seed, *own))
    found: list[Measured] = wait_for("evaluate", "blocks of measures", started)
    by_pair = {(row["a"], row["b"]): row for measured in found for row in measured.pairs}
    return Measured(
        [by_pair[pair] for pair in combinations(networks, 2) if pair in by_pair],
        {name: directions for measured in found for name, directions in measured.directions.items()},
        {name: ratio for measured in found for name, ratio in measured.participation.items()},
    )


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
    permutations: int,
    seed: int,
    *samples: Sampled,
) -> Measured:
    """Return what is measured of these pairs and their networks.

    `sums` are summed here unless they are given. `samples` are each network's, or none if the images are too few.
    """
    found = sums or reduce(add, map(summand, chunks))
    sampled = dict(zip(found.first, samples, strict=False))
    return Measured(
        [
            measure_pair(pair, found, (sampled[pair[0]], sampled[pair[1]]), permutations, seed)
            for pair in pairs
            if sampled
        ],
        {network: found.directions(network) for network in found.first},
        {network: participation_ratio(found, network) for network in found.first},
    )


def measure_pair(
    pair: Pair, sums: CrossSums, samples: tuple[Sampled, Sampled], permutations: int, seed: int
) -> MeasureResults:
    """Return how alike two networks' features are."""
    one, other = samples
    rows, k = one.near.shape
    overlap = neighbour_overlap(one.near, other.near)
    half = Z * float(overlap.std(ddof=1)) / rows**0.5
    mean = float(overlap.mean())
    calibrated = None
    if one.kernel is not None and other.kernel is not None:
        calibrated = calibrated_cka(one.kernel, other.kernel, permutations, seed)
    return {
        "a": pair[0],
        "b": pair[1],
        "cka": sums.cka(*pair),
        "cka_unbiased": sums.unbiased_cka(*pair),
        "cka_calibrated": calibrated,
        "procrustes_angle": procrustes_angle(sums, *pair),
        "neighbours": mean,
        "neighbours_ci95": [mean - half, mean + half],
        "neighbours_by_chance": k / (rows - 1),
        "neighbours_calibrated": calibrated_neighbours(one.near, other.near, permutations, seed),
        "k": k,
        "rows": rows,
    }


@ray.remote(num_cpus=1)
def sample(tables: FeatureTables, network: str, rows: int, k: int) -> Sampled:
    """Return what a network's features of a sample of the images come to."""
    vectors = read_sample(tables, network, rows).vectors[network]
    kernel = centred_kernel(vectors[:PERMUTED_ROWS]) if rows >= FEWEST else None
    return Sampled(nearest_neighbours(vectors, k), kernel)
