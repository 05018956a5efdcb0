"""Loss_{T,S} = Acc(C_T(F_T)) - Acc(C_T(M_{S->T} F_S)), from integer counts that merge and are divided once, last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats


def mcnemar_p(fixed: np.ndarray | int, broken: np.ndarray | int) -> np.ndarray:
    """Return two-sided p of McNemar's exact test (1947), whose hypothesis is that fixed and broken images are equally
    likely.

    Given fixed + broken = m, each of the m images is one or the other with probability 1/2. p is 1 if m is 0.
    """
    fixed, broken = np.asarray(fixed), np.asarray(broken)
    return np.minimum(1.0, 2 * stats.binom.cdf(np.minimum(fixed, broken), fixed + broken, 0.5))


def loss_interval(
    fixed: np.ndarray | int, broken: np.ndarray | int, total: int, error: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends, in points, of the interval of the loss that misses it with probability `error`.

    Source: Bonett and Price (2012), "Adjusted Wald confidence interval for a difference of binomial proportions based
    on paired data", equation 3. One image is added to each discordant count, p1 = (broken + 1) / (n + 2) and p2 =
    (fixed + 1) / (n + 2); the interval is p1 - p2 +- z sqrt((p1 + p2 - (p1 - p2)^2) / (n + 2)).
    """
    difference, deviation = _adjusted(fixed, broken, total)
    half = stats.norm.isf(error / 2) * deviation
    return 100 * np.maximum(-1.0, difference - half), 100 * np.minimum(1.0, difference + half)


def equivalence_p(fixed: np.ndarray | int, broken: np.ndarray | int, total: int, margin: float) -> np.ndarray:
    """Return p of the hypothesis that the loss is `margin` points or more, in either direction.

    Two one-sided tests (Schuirmann 1987, "A comparison of the two one-sided tests procedure ..."), with the estimate
    and the deviation of `loss_interval`: p is below 0.05 exactly if the 90 % interval lies within the margin.
    """
    difference, deviation = _adjusted(fixed, broken, total)
    upper = stats.norm.cdf((difference - margin / 100) / deviation)
    lower = stats.norm.sf((difference + margin / 100) / deviation)
    return np.asarray(np.maximum(upper, lower))


def loss_variance(fixed: int, broken: int, total: int) -> float:
    """Return the variance of the loss over evaluation images, in squared points, as `loss_interval` has it."""
    return float(100 * _adjusted(fixed, broken, total)[1]) ** 2


def adjusted_loss(fixed: int, broken: int, total: int) -> float:
    """Return the estimate of the loss, in points, that `loss_interval` lies about."""
    return float(100 * _adjusted(fixed, broken, total)[0])


def _adjusted(fixed: np.ndarray | int, broken: np.ndarray | int, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Bonett and Price's estimate of the loss, as a share, and its standard deviation."""
    p1, p2 = (np.asarray(broken) + 1) / (total + 2), (np.asarray(fixed) + 1) / (total + 2)
    return p1 - p2, np.sqrt((p1 + p2 - (p1 - p2) ** 2) / (total + 2))


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
        """Two-sided p of McNemar's exact test."""
        return float(mcnemar_p(self.fixed, self.broken))

    def interval(self, error: float = 0.05) -> tuple[float, float]:
        """Return the ends, in points, of the interval of the loss that misses it with probability `error`."""
        low, high = loss_interval(self.fixed, self.broken, self.total, error)
        return float(low), float(high)

    def p_equivalent(self, margin: float) -> float:
        """Return p of the hypothesis that the loss is `margin` points or more, in either direction."""
        return float(equivalence_p(self.fixed, self.broken, self.total, margin))


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
