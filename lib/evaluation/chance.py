"""Whether a classifier fed with mapped features does any better than guessing."""

from __future__ import annotations

from functools import cache

from scipy import stats

from lib.evaluation.results import MappingResults, Results

LEVEL = 0.05


def at_chance(results: Results, mapping: MappingResults) -> bool:
    """Return whether no more images are right than guessing one of the classes would get.

    The test is the exact one-sided binomial test at LEVEL, not corrected for the number of mappings. The answer is
    False if results.json does not say how many classes the target has.
    """
    classes = results["networks"][mapping["target"]].get("classes")
    if not classes or not mapping["total"]:
        return False
    return _p_value(mapping["correct"], mapping["total"], classes) > LEVEL


@cache
def _p_value(correct: int, total: int, classes: int) -> float:
    """Return how often guessing gets `correct` images right, or more."""
    return float(stats.binom.sf(correct - 1, total, 1 / classes))
