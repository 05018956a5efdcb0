"""Whether a mapped vector finds its own image among those of the target network."""

from __future__ import annotations

import numpy as np
import torch

from lib.evaluation.results import Retrieval

BLOCK = 2048  # queries whose likeness to all images is held at once


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


def retrieval(mapped: torch.Tensor, own: torch.Tensor) -> Retrieval:
    """Return how often mapped unit vectors (n, d) find their own image among `own` (n, d). n is at least 1."""
    ranks = ranks_of_own(mapped, own)
    return {
        "recall_at_1": float((ranks <= 1).mean()),
        "recall_at_10": float((ranks <= 10).mean()),
        "mean_rank": float(ranks.mean()),
        "rows": len(ranks),
    }
