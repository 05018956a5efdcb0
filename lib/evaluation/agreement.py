"""How often two classifications of the same images agree, and how often they would agree by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.evaluation.results import AgreementResults

Z = 1.959964  # standard deviations on either side of a 95 % interval


@dataclass(frozen=True)
class Agreement:
    """Agreement of two predicted classes for each image, given its label."""

    same: float  # share of images given the same class
    same_by_chance: float
    consistent: float  # share of images that both get right or both get wrong
    consistent_by_chance: float
    cells: tuple[float, float, float, float]  # shares: both right, the first alone, the second alone, neither
    images: int

    @classmethod
    def count(cls, label: np.ndarray, a: np.ndarray, b: np.ndarray) -> Agreement:
        """Count from (n,) integers each. Raises ValueError if the lengths differ or there is no image.

        By chance means: two classifiers with these accuracies p_a and p_b and these wrong answers err independently of
        each other. Both are then right with p_a p_b and wrong with (1 - p_a)(1 - p_b). Wrong answers are drawn from
        their own distributions q_a and q_b over the classes, without the label y, which no wrong answer is; they
        coincide with sum_y pi(y) sum_{c != y} q_a(c) q_b(c) / ((1 - q_a(y)) (1 - q_b(y))), pi being the labels' shares.
        """
        if not label.shape == a.shape == b.shape or not len(label):
            raise ValueError(f"expected three arrays of one length above 0, got {label.shape}, {a.shape}, {b.shape}")
        right_a, right_b = a == label, b == label
        p_a, p_b = right_a.mean(), right_b.mean()
        wrong = (1 - p_a) * (1 - p_b)
        return cls(
            same=float((a == b).mean()),
            same_by_chance=float(p_a * p_b + wrong * _coincide(label, a[~right_a], b[~right_b])),
            consistent=float((right_a == right_b).mean()),
            consistent_by_chance=float(p_a * p_b + wrong),
            cells=(
                float((right_a & right_b).mean()),
                float((right_a & ~right_b).mean()),
                float((~right_a & right_b).mean()),
                float((~right_a & ~right_b).mean()),
            ),
            images=len(label),
        )

    @property
    def kappa(self) -> float | None:
        """Error consistency (Geirhos et al. 2020, "Beyond accuracy"): 0 if as by chance, 1 if both make the same
        errors.

        None if chance alone makes them agree on all images.
        """
        if self.consistent_by_chance == 1:
            return None
        return (self.consistent - self.consistent_by_chance) / (1 - self.consistent_by_chance)

    @property
    def kappa_interval(self) -> list[float] | None:
        """The ends of the 95 % interval of kappa over the images; None where kappa is.

        Kappa is Cohen's, of two judges who say right or wrong. Its standard error is that of Fleiss, Cohen and Everitt
        (1969), "Large sample standard errors of kappa and weighted kappa", equation 13.
        """
        kappa, expected = self.kappa, self.consistent_by_chance
        if kappa is None:
            return None
        both, one, other, neither = self.cells
        a, b = both + one, both + other  # right: the first, the second
        agree = both * (1 - (a + b) * (1 - kappa)) ** 2 + neither * (1 - (2 - a - b) * (1 - kappa)) ** 2
        differ = (1 - kappa) ** 2 * (one * (b + 1 - a) ** 2 + other * (a + 1 - b) ** 2)
        rest = (kappa - expected * (1 - kappa)) ** 2
        half = Z * max(0.0, agree + differ - rest) ** 0.5 / ((1 - expected) * self.images**0.5)
        return [max(-1.0, kappa - half), min(1.0, kappa + half)]

    def as_results(self) -> AgreementResults:
        """Return the entries of results.json."""
        return {
            "agreement": self.same,
            "agreement_by_chance": self.same_by_chance,
            "consistency": self.consistent,
            "consistency_by_chance": self.consistent_by_chance,
            "kappa": self.kappa,
            "kappa_ci95": self.kappa_interval,
        }


def _coincide(label: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Return the probability that a wrong answer drawn from `a` and one drawn from `b` are the same class."""
    if not len(a) or not len(b):
        return 0.0
    classes = np.unique(np.concatenate([label, a, b]))
    pi, q_a, q_b = (_shares(x, classes) for x in (label, a, b))
    room = (1 - q_a) * (1 - q_b)
    possible = room > 0  # else all wrong answers are y, and no image of y is answered wrongly
    same = (q_a @ q_b - q_a * q_b)[possible] / room[possible]
    return float(pi[possible] @ same / pi[possible].sum()) if pi[possible].any() else 0.0


def _shares(x: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(classes, x), minlength=len(classes)) / len(x)
