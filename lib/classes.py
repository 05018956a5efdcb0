"""Loss by class, and which images to show of those that a mapping fixed or broke."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def by_class(
    label: np.ndarray, own: np.ndarray, mapped: np.ndarray, names: list[str] | None = None
) -> list[dict[str, Any]]:
    """For each label that occurs: its name, how many images, how many right with own and with mapped features.

    (n,) labels, and (n,) bool whether each composition is right. Greatest losses first, then by label.
    """
    found = [
        {
            "label": int(k),
            "name": names[k] if names else None,
            "total": int((label == k).sum()),
            "own": int(own[label == k].sum()),
            "mapped": int(mapped[label == k].sum()),
        }
        for k in np.unique(label)
    ]
    return sorted(found, key=lambda row: ((row["mapped"] - row["own"]) / row["total"], row["label"]))


def examples(image_id: np.ndarray, chosen: np.ndarray, count: int, seed: int) -> list[str]:
    """Up to `count` ids of the `chosen` (n,) images: at random by the seed, the same in whatever order they come."""
    ids = image_id[chosen].tolist()
    return sorted(ids, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())[:count]
