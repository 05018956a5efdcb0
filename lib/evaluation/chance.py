"""Whether a classifier fed with mapped features does any better than guessing."""

from __future__ import annotations

from typing import Any

from scipy import stats

LEVEL = 0.05


def at_chance(results: dict[str, Any], mapping: dict[str, Any]) -> bool:
    """Exact one-sided binomial test: are `correct` of `total` no more than guessing one of the classes would give?

    False where results.json doesn't say how many classes the target has. Not corrected for the number of mappings.
    """
    classes = results["networks"][mapping["target"]].get("classes")
    if not classes or not mapping["total"]:
        return False
    test = stats.binomtest(mapping["correct"], mapping["total"], 1 / classes, alternative="greater")
    return bool(test.pvalue > LEVEL)
