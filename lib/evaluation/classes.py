"""Loss by class: counts, exact tests, and estimates that do not mistake the luck of few images for a loss."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from scipy import stats

from lib.evaluation.losses import mcnemar_p
from lib.evaluation.result_tables import CLASSES


def count_by_class(
    pair: tuple[str, str], label: np.ndarray, own: np.ndarray, mapped: np.ndarray, names: list[str] | None = None
) -> pa.Table:
    """Return a CLASSES table of one pair: for each label that occurs how many images have it, how many are right with
    own and with mapped features, and what that shows.

    `label` (n,) are labels; `own` and `mapped` (n,) say whether each composition is right. `p_value` is McNemar's exact
    test of each class, `q_value` the same corrected for all classes (Benjamini and Hochberg 1995). The greatest
    shrunken losses come first, then lower labels; classes of one image stand last, since one image ranks nothing.
    `names` are the classes' names, None if they are unknown.
    """
    labels, place = np.unique(label, return_inverse=True)

    def count(chosen: np.ndarray) -> np.ndarray:
        """Count the images of each class where `chosen` (n,) is true."""
        return np.bincount(place[chosen], minlength=len(labels))

    total = count(np.ones(len(label), bool))
    fixed, broken = count(~own & mapped), count(own & ~mapped)
    p_values = mcnemar_p(fixed, broken)
    shrunken = shrunken_losses(total, fixed, broken)
    order = np.lexsort((labels, -shrunken, total == 1))
    columns = (total, count(own), count(mapped), p_values, stats.false_discovery_control(p_values), shrunken)
    described = [[names[k] if names else None for k in labels[order]], *(values[order] for values in columns)]
    return pa.table([*(np.full(len(labels), name) for name in pair), labels[order], *described], schema=CLASSES)


def shrunken_losses(total: np.ndarray, fixed: np.ndarray, broken: np.ndarray) -> np.ndarray:
    """Return each class's loss in points, drawn towards the loss of all images as far as chance explains differences.

    All arrays are (classes,). With l_c the loss of a class of n_c images, L that of all, v the variance of one image's
    change and t^2 that of the classes' true losses, the estimate is L + (l_c - L) t^2 / (t^2 + v / n_c): the posterior
    mean in a normal random-effects model, with the moment estimate of t^2 from the one-way analysis of variance. If all
    classes lose the same, t^2 is about 0, and so all estimates are about L.
    """
    n = total.sum()
    loss = (broken - fixed) / total
    overall = (broken - fixed).sum() / n
    inside = ((broken + fixed) - total * loss**2).sum()  # sum of squared changes about each class's mean
    classes = len(total)
    variance = inside / (n - classes) if n > classes else 0.0
    between = (total * (loss - overall) ** 2).sum() - (classes - 1) * variance
    spread = n - (total**2).sum() / n
    true = max(0.0, between / spread) if spread > 0 and n > classes else 0.0
    weight = true / (true + variance / total) if true > 0 else np.zeros(classes)
    return np.asarray(100 * (overall + (loss - overall) * weight))
