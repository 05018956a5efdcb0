"""Loss_{T,S} = Acc(C_T(F_T)) - Acc(C_T(M_{S->T} F_S)), from integer counts that merge and are divided once, last."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Pairing:
    """The same labelled images, judged twice by one classifier: on its own features and on mapped ones.

    Images without a label belong in neither count; leave them out before counting.
    """

    both: int  # right with own and with mapped features
    fixed: int  # wrong with own, right with mapped
    broken: int  # right with own, wrong with mapped
    neither: int

    @classmethod
    def count(cls, own: np.ndarray, mapped: np.ndarray) -> Pairing:
        """Count from two (n,) bool arrays of the same images. Raises ValueError if their lengths differ."""
        if own.shape != mapped.shape:
            raise ValueError(f"expected two arrays of one shape, got {own.shape} and {mapped.shape}")
        return cls(
            both=int((own & mapped).sum()),
            fixed=int((~own & mapped).sum()),
            broken=int((own & ~mapped).sum()),
            neither=int((~own & ~mapped).sum()),
        )

    def __add__(self, other: Pairing) -> Pairing:
        return Pairing(
            self.both + other.both,
            self.fixed + other.fixed,
            self.broken + other.broken,
            self.neither + other.neither,
        )

    @property
    def total(self) -> int:
        """The number of images."""
        return self.both + self.fixed + self.broken + self.neither

    @property
    def own_correct(self) -> int:
        """Images that are right with the classifier's own features."""
        return self.both + self.broken

    @property
    def mapped_correct(self) -> int:
        """Images that are right with mapped features."""
        return self.both + self.fixed

    @property
    def loss(self) -> float:
        """Points of accuracy lost; negative if mapped features do better.

        own - mapped = (both + broken) - (both + fixed) = broken - fixed, since the images that are right both times
        cancel.
        """
        return 100 * (self.broken - self.fixed) / self.total

    @property
    def p_value(self) -> float:
        """Two-sided p of McNemar's exact test (1947), whose hypothesis is that fixed and broken images are equally
        likely.

        Given fixed + broken = m, each of the m images is one or the other with probability 1/2. p is 1 if m is 0.
        """
        changed = self.fixed + self.broken
        return float(stats.binomtest(self.fixed, changed, 0.5).pvalue) if changed else 1.0

    def interval95(self) -> tuple[float, float]:
        """Return the 95 % interval of the loss, in points, for paired proportions.

        Source: Bonett and Price (2012), "Adjusted Wald confidence interval for a difference of binomial proportions
        based on paired data", equation 3. One image is added to each discordant count, p1 = (broken + 1) / (n + 2) and
        p2 = (fixed + 1) / (n + 2); the interval is p1 - p2 +- z sqrt((p1 + p2 - (p1 - p2)^2) / (n + 2)).
        """
        p1, p2 = (self.broken + 1) / (self.total + 2), (self.fixed + 1) / (self.total + 2)
        half = stats.norm.ppf(0.975) * sqrt((p1 + p2 - (p1 - p2) ** 2) / (self.total + 2))
        return 100 * max(-1.0, p1 - p2 - half), 100 * min(1.0, p1 - p2 + half)


def holm(p_values: list[float]) -> list[float]:
    """Correct m tests made at once by Holm's (1979) step-down method, and return them in the order of the tests.

    The i-th smallest p (from 0) is multiplied by m - i. No p is corrected to less than a smaller one, or to more than
    1.
    """
    m = len(p_values)
    ascending = np.argsort(p_values, kind="stable")
    corrected = np.minimum(1, np.maximum.accumulate((m - np.arange(m)) * np.asarray(p_values)[ascending]))
    found = np.empty(m)
    found[ascending] = corrected
    return found.tolist()
