"""Agreement of two classifications: counted by hand, and what independent ones show."""

import numpy as np
import pytest

from lib.evaluation.agreement import Agreement


def test_a_case_counted_by_hand() -> None:
    label = np.array([0, 0, 1, 1, 2])
    a = np.array([0, 1, 1, 2, 0])  # right: 0 and 2
    b = np.array([0, 1, 2, 2, 2])  # right: 0 and 4
    found = Agreement.count(label, a, b)
    assert found.same == 3 / 5
    assert found.consistent == 3 / 5
    assert found.consistent_by_chance == pytest.approx(0.4 * 0.4 + 0.6 * 0.6)
    # wrong answers: 1, 2, 0 and 1, 2, 2: they coincide with 1/3 (0 + 1/3 + 2/3)
    assert found.same_by_chance == pytest.approx(0.16 + 0.36 / 3)
    assert found.kappa == pytest.approx((0.6 - 0.52) / 0.48)


@pytest.mark.parametrize("classes", [10, 100])
def test_independent_errors_agree_as_by_chance(classes: int) -> None:
    draw = np.random.default_rng(classes)
    label = draw.integers(classes, size=200_000)

    def answers(accuracy: float) -> np.ndarray:
        return np.where(draw.random(len(label)) < accuracy, label, draw.integers(classes, size=len(label)))

    found = Agreement.count(label, answers(0.7), answers(0.5))
    assert found.same == pytest.approx(found.same_by_chance, abs=0.004)
    assert found.consistent == pytest.approx(found.consistent_by_chance, abs=0.004)
    assert found.kappa == pytest.approx(0, abs=0.01)


def test_the_same_errors_have_kappa_one_and_all_right_none() -> None:
    label, same = np.arange(10), np.array([0, 1, 2, 3, 4, 5, 6, 7, 0, 0])
    assert Agreement.count(label, same, same).kappa == pytest.approx(1)
    assert Agreement.count(label, label, label).kappa is None
    with pytest.raises(ValueError, match="three arrays of one length"):
        Agreement.count(label, same, same[:3])
