"""Loss by class."""

from __future__ import annotations

import numpy as np

from lib.evaluation.results import ClassCounts


def count_by_class(
    label: np.ndarray, own: np.ndarray, mapped: np.ndarray, names: list[str] | None = None
) -> list[ClassCounts]:
    """For each label that occurs: its name, how many images, how many right with own and with mapped features.

    (n,) labels, and (n,) bool whether each composition is right. Greatest losses first, then by label.
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
