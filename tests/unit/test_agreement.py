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
    # Wrong answers are 1, 2, 0 and 1, 2, 2: q_a = (1/3, 1/3, 1/3), q_b = (0, 1/3, 2/3). Without the label they coincide
    # with (1/9 + 2/9) / (2/3 1) for label 0, (2/9) / (2/3 2/3) for 1, and (1/9) / (2/3 1/3) for 2: 1/2 each.
    assert found.same_by_chance == pytest.approx(0.16 + 0.36 / 2)
    assert found.kappa == pytest.approx((0.6 - 0.52) / 0.48)


def test_two_classes_leave_one_wrong_answer() -> None:
    """Both are right half the time: they agree half the time, since both wrong is the same answer."""
    label = np.tile([0, 1], 50_000)
    a, b = (np.where(np.random.default_rng(seed).random(100_000) < 0.5, label, 1 - label) for seed in (0, 1))
    found = Agreement.count(label, a, b)
    assert found.same_by_chance == pytest.approx(0.5, abs=0.005)
    assert found.same == pytest.approx(found.same_by_chance, abs=0.005)


@pytest.mark.parametrize("classes", [3, 10, 100])
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
