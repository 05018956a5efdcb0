"""Loss by class."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lib.evaluation.result_tables import CLASSES


def count_by_class(
    pair: tuple[str, str], label: np.ndarray, own: np.ndarray, mapped: np.ndarray, names: list[str] | None = None
) -> pa.Table:
    """Return a CLASSES table of one pair: for each label that occurs how many images have it, and how many are right
    with own and with mapped features.

    `label` (n,) are labels; `own` and `mapped` (n,) say whether each composition is right. The greatest losses come
    first, then lower labels. `names` are the classes' names, None if they are unknown.
    """
    labels, place = np.unique(label, return_inverse=True)
    total, right_own, right = (
        np.bincount(place[chosen], minlength=len(labels)) for chosen in (np.ones(len(label), bool), own, mapped)
    )
    order = np.lexsort((labels, (right - right_own) / np.maximum(total, 1)))
    columns = [labels[order], [names[k] if names else None for k in labels[order]], total[order]]
    both = [np.full(len(labels), name) for name in pair]
    return pa.table([*both, *columns, right_own[order], right[order]], schema=CLASSES)
