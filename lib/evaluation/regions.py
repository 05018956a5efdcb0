"""Overlap regions of three sets of images: those that target, source and mapped features get right (paper, Fig. 5)."""

from __future__ import annotations

import numpy as np

# target: C_T(F_T) right, source: C_S(F_S) right, mapped: C_T(M_{S->T} F_S) right.
REGIONS = (
    "target+source+mapped",
    "target+source",
    "target+mapped",
    "source+mapped",
    "target",
    "source",
    "mapped",
    "none",
)


def count_regions(target: np.ndarray, source: np.ndarray, mapped: np.ndarray) -> dict[str, int]:
    """Return the count of each of the eight regions for three (n,) bool arrays; the counts sum to n.

    Raises ValueError if the arrays do not have the same length.
    """
    if not len(target) == len(source) == len(mapped):
        raise ValueError(f"expected three arrays of one length, got {len(target)}, {len(source)} and {len(mapped)}")
    sets = {"target": target, "source": source, "mapped": mapped}
    counts = {}
    for region in REGIONS:
        inside = np.ones(len(target), bool)
        for name, right in sets.items():
            inside &= right if name in region.split("+") else ~right
        counts[region] = int(inside.sum())
    return counts
