"""Whether a mapped vector finds in the target network's index what the target's own vector would find.

An index of the target's vectors need not be made anew when queries come from another network, if its mapped queries
find the same images. Two things are counted. The target's own query finds its own image first, whatever the network is,
so that this share is 1 for it, and a mapped query's share is relative to that. But the images in an index are others
than the query's: so the own query's 1 or 10 nearest other images are taken for the truth, and a mapped query's recall
is the share of them that it finds among its own 1 or 10 nearest other images.
"""

from __future__ import annotations

import numpy as np
import torch

from lib.evaluation.results import Retrieval

BLOCK = 2048  # queries whose likeness to all images is held at once
NEAR = 10  # nearest other images


def ranks_of_own(mapped: torch.Tensor, own: torch.Tensor, block: int = BLOCK) -> np.ndarray:
    """Return for each image the rank of its own vector by cosine to the mapped one, (n,) from 1.

    Both are unit vectors (n, d) of the same images in one order. The rank is one more than the number of images that
    are nearer, so that images with equal vectors share the best rank. Raises ValueError if the shapes differ.
    """
    if mapped.shape != own.shape or mapped.ndim != 2:
        raise ValueError(
            f"expected vectors (n, d) of the same images, got {tuple(mapped.shape)} and {tuple(own.shape)}"
        )
    found = []
    for start in range(0, len(own), block):
        similar = mapped[start : start + block] @ own.T
        itself = similar[torch.arange(len(similar)), torch.arange(start, start + len(similar))]
        found.append(1 + (similar > itself[:, None]).sum(1).cpu())
    return torch.cat(found).numpy() if found else np.empty(0, np.int64)


def nearest_others(queries: torch.Tensor, index: torch.Tensor, block: int = BLOCK) -> torch.Tensor:
    """Return for each query (n, d) the NEAR images of the index (n, d) with the largest cosine, itself left out.

    Both are unit vectors of the same images in one order; the row numbers are (n, k), k = min(NEAR, n - 1), the nearest
    first.
    """
    n = len(index)
    found = [torch.empty(0, min(NEAR, max(0, n - 1)), dtype=torch.int64, device=index.device)]
    for start in range(0, n, block):
        similar = queries[start : start + block] @ index.T
        similar[torch.arange(len(similar)), torch.arange(start, start + len(similar))] = -torch.inf
        found.append(similar.topk(found[0].shape[1], dim=1).indices)
    return torch.cat(found)


def retrieval(mapped: torch.Tensor, own: torch.Tensor, near: torch.Tensor | None = None) -> Retrieval:
    """Return how mapped unit vectors (n, d), as queries, do in the index of `own` (n, d). n is at least 1.

    `near` is nearest_others(own, own) if that is known already. One image alone has no others: all queries find them.
    """
    ranks = ranks_of_own(mapped, own)
    near = nearest_others(own, own) if near is None else near
    theirs = nearest_others(mapped, own)
    shared = (theirs[:, :, None] == near[:, None, :]).any(2)
    return {
        "recall_at_1": float((ranks <= 1).mean()),
        "recall_at_10": float((ranks <= 10).mean()),
        "mean_rank": float(ranks.mean()),
        "neighbours_at_1": float((theirs[:, :1] == near[:, :1]).double().mean()) if near.shape[1] else 1.0,
        "neighbours_at_10": float(shared.double().mean()) if near.shape[1] else 1.0,
        "rows": len(ranks),
    }
