"""The order of networks in the matrix of losses, and what each network gives and takes."""

from __future__ import annotations

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform


def order_networks(networks: list[str], losses: dict[tuple[str, str], float]) -> list[str]:
    """Return the networks ordered by average-linkage clustering with optimal leaf ordering (Bar-Joseph et al. 2001).

    `losses` maps (source, target) to points. Two networks' distance is the mean of both directions, minus the least
    distance of all, since gains make losses negative. Where one has no classifier, there is one direction; where both
    have none, there is no loss, and they count as far from each other as any two.
    """
    if len(networks) < 3 or not losses:
        return list(networks)
    distance = np.full((len(networks), len(networks)), max(losses.values()))
    for i, a in enumerate(networks):
        for j, b in enumerate(networks):
            known = [losses[pair] for pair in ((a, b), (b, a)) if pair in losses]
            if i != j and known:
                distance[i, j] = sum(known) / len(known)
    np.fill_diagonal(distance, 0)
    off = ~np.eye(len(networks), dtype=bool)
    distance[off] -= distance[off].min()
    links = hierarchy.linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return [networks[k] for k in hierarchy.leaves_list(links)]


def give_and_take(networks: list[str], losses: dict[tuple[str, str], float]) -> dict[str, dict[str, float | None]]:
    """Return for each network the mean loss, in points, of the classifiers fed from it ("gives") and of its own
    ("takes"), None if no direction has a loss.
    """

    def mean(points: list[float]) -> float | None:
        """Return the mean of some losses."""
        return float(np.mean(points)) if points else None

    return {
        name: {
            "gives": mean([loss for (source, _), loss in losses.items() if source == name]),
            "takes": mean([loss for (_, target), loss in losses.items() if target == name]),
        }
        for name in networks
    }
