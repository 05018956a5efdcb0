"""How often two classifications of the same images agree, and how often they would agree by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.evaluation.results import AgreementResults


@dataclass(frozen=True)
class Agreement:
    """Agreement of two predicted classes for each image, given its label."""

    same: float  # share of images given the same class
    same_by_chance: float
    consistent: float  # share of images that both get right or both get wrong
    consistent_by_chance: float

    @classmethod
    def count(cls, label: np.ndarray, a: np.ndarray, b: np.ndarray) -> Agreement:
        """Count from (n,) integers each. Raises ValueError if the lengths differ or there is no image.

        By chance means: two classifiers with these accuracies p_a and p_b and these wrong answers err independently of
        each other and of the label. Both are then right with p_a p_b and wrong with (1 - p_a)(1 - p_b). Two wrong
        answers, drawn from their own distributions q_a and q_b over the classes, coincide with sum_c q_a(c) q_b(c).
        """
        if not label.shape == a.shape == b.shape or not len(label):
            raise ValueError(f"expected three arrays of one length above 0, got {label.shape}, {a.shape}, {b.shape}")
        right_a, right_b = a == label, b == label
        p_a, p_b = right_a.mean(), right_b.mean()
        wrong = (1 - p_a) * (1 - p_b)
        return cls(
            same=float((a == b).mean()),
            same_by_chance=float(p_a * p_b + wrong * _coincide(a[~right_a], b[~right_b])),
            consistent=float((right_a == right_b).mean()),
            consistent_by_chance=float(p_a * p_b + wrong),
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

    def as_results(self) -> AgreementResults:
        """Return the entries of results.json."""
        return {
            "agreement": self.same,
            "agreement_by_chance": self.same_by_chance,
            "consistency": self.consistent,
            "consistency_by_chance": self.consistent_by_chance,
            "kappa": self.kappa,
        }


def _coincide(a: np.ndarray, b: np.ndarray) -> float:
    """Return the probability that an answer drawn from `a` and an answer drawn from `b` are the same class."""
    if not len(a) or not len(b):
        return 0.0
    classes = np.unique(np.concatenate([a, b]))
    q_a, q_b = ((x[:, None] == classes).mean(0) if len(classes) < 50 else _shares(x, classes) for x in (a, b))
    return float(q_a @ q_b)


def _shares(x: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(classes, x), minlength=len(classes)) / len(x)
