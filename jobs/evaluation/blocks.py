"""Pairs of networks in blocks: what reads the networks of a block once serves all its pairs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from jobs.cluster.capacity import Capacity
from lib.experiment.variants import tiles

Pair = tuple[str, str]


def blocks_of_pairs(networks: Sequence[str], wanted: Collection[Pair], side: int) -> list[list[Pair]]:
    """Return the wanted pairs in blocks of `side` networks by `side`, or in smaller ones if there would be fewer blocks
    than GPUs, or than CPUs where there is no GPU.
    """
    capacity = Capacity.now()
    at_once = capacity.gpus or capacity.cpus
    while True:
        found = [[(a, b) for a in rows for b in columns if (a, b) in wanted] for rows, columns in tiles(networks, side)]
        blocks = [pairs for pairs in found if pairs]
        if side == 1 or len(blocks) >= at_once:
            return blocks
        side //= 2
