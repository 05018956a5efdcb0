"""Whether a mapped vector finds in the target network's index what the target's own vector would find.

An index of the target's vectors need not be made anew when queries come from another network, if its mapped queries
find the same images. Two things are counted. The target's own query finds its own image first, whatever the network is,
so that this share is 1 for it, and a mapped query's share is relative to that. But the images in an index are others
than the query's: so the own query's 1 or 10 nearest other images are taken for the truth, and a mapped query's recall
is the share of them that it finds among its own 1 or 10 nearest other images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from lib.evaluation.results import Retrieval

BLOCK = 2048  # queries whose likeness to all images is held at once
NEAR = 10  # nearest other images


@dataclass(frozen=True)
class Found:
    """What n queries found in an index of n images."""

    ranks: np.ndarray  # (n,): of each query's own image, from 1
    near: torch.Tensor  # (n, k): the nearest other images' row numbers, the nearest first


def look_up(queries: torch.Tensor, index: torch.Tensor, block: int = BLOCK) -> Found:
    """Look up queries in an index by cosine: unit vectors (n, d), both, of the same images in one order.

    A query's own image has a rank that is one more than the number of images that are nearer, so that images with equal
    vectors share the best rank. It is left out of the k = min(NEAR, n - 1) nearest. Raises ValueError if the shapes
    differ.
    """
    if queries.shape != index.shape or queries.ndim != 2:
        raise ValueError(
            f"expected vectors (n, d) of the same images, got {tuple(queries.shape)} and {tuple(index.shape)}"
        )
    n = len(index)
    ranks = [torch.empty(0, dtype=torch.int64)]
    near = [torch.empty(0, min(NEAR, max(0, n - 1)), dtype=torch.int64, device=index.device)]
    for start in range(0, n, block):
        similar = queries[start : start + block] @ index.T
        rows = torch.arange(len(similar), device=index.device)
        itself = similar[rows, start + rows]
        ranks.append(1 + (similar > itself[:, None]).sum(1).cpu())
        similar[rows, start + rows] = -torch.inf
        near.append(similar.topk(near[0].shape[1], dim=1).indices)
    return Found(torch.cat(ranks).numpy(), torch.cat(near))


def retrieval(mapped: torch.Tensor, own: torch.Tensor, near: torch.Tensor | None = None) -> Retrieval:
    """Return how mapped unit vectors (n, d), as queries, do in the index of `own` (n, d). n is at least 1.

    `near` is look_up(own, own).near if that is known already. One image alone has no others: all queries find them.
    """
    found = look_up(mapped, own)
    ranks, theirs = found.ranks, found.near
    near = look_up(own, own).near if near is None else near
    shared = (theirs[:, :, None] == near[:, None, :]).any(2)
    return {
        "recall_at_1": float((ranks <= 1).mean()),
        "recall_at_10": float((ranks <= 10).mean()),
        "mean_rank": float(ranks.mean()),
        "neighbours_at_1": float((theirs[:, :1] == near[:, :1]).double().mean()) if near.shape[1] else 1.0,
        "neighbours_at_10": float(shared.double().mean()) if near.shape[1] else 1.0,
        "rows": len(ranks),
    }
