"""Whether a classifier fed with mapped features does any better than answers that know nothing of the image."""

from __future__ import annotations

import numpy as np
from scipy import stats

from lib.evaluation.results import MappingResults

LEVEL = 0.05


def chance_level(label: np.ndarray, answers: np.ndarray) -> float:
    """Return the accuracy by chance: sum_c pi(c) q(c), of the shares of each class c among labels and among answers.

    Both are (n,), classes by their numbers from 0 on; `label` may be (n, k) right labels of each image, whose shares
    are then of the images for which they are right. It is what these answers would get right on average if they were
    dealt to the images at random.
    """
    counts = np.bincount(label[label >= 0])
    known = answers[(answers >= 0) & (answers < len(counts))]
    return float(counts @ np.bincount(known, minlength=len(counts))) / len(answers) ** 2


def chance_p(correct: int, total: int, chance: float) -> float:
    """Return the exact one-sided binomial p: how often chance gets `correct` of `total` images right, or more."""
    return float(stats.binom.sf(correct - 1, total, chance))


def accuracy_interval(correct: int, total: int, error: float = 0.05) -> tuple[float, float]:
    """Return the exact interval of an accuracy, as shares (Clopper and Pearson 1934)."""
    low = stats.beta.ppf(error / 2, correct, total - correct + 1) if correct > 0 else 0.0
    high = stats.beta.isf(error / 2, correct + 1, total - correct) if correct < total else 1.0
    return float(low), float(high)


def shows(p: float | None) -> bool:
    """Return whether a test with this p shows anything, at LEVEL. Without a p, as in earlier versions, it does not."""
    return p is not None and p < LEVEL


def maybe_chance(mapping: MappingResults) -> bool:
    """Return whether a mapping is not distinguishable from chance, corrected for all directions being tested at once.

    False if results.json is of an earlier version, which does not say.
    """
    return mapping.get("p_chance_holm") is not None and not shows(mapping.get("p_chance_holm"))
