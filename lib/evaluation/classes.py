"""Loss by class."""

from __future__ import annotations

import numpy as np

from lib.evaluation.results import ClassCounts


def count_by_class(
    label: np.ndarray, own: np.ndarray, mapped: np.ndarray, names: list[str] | None = None
) -> list[ClassCounts]:
    """Return for each label that occurs how many images have it, and how many are right with own and with mapped
    features.

    `label` (n,) are labels; `own` and `mapped` (n,) say whether each composition is right. The greatest losses come
    first, then lower labels. `names` are the classes' names, None if they are unknown.
    """
    found: list[ClassCounts] = [
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
