"""What the verdict rests on, by simulation: how often its tests err where nothing is to be found, at three sizes."""

import numpy as np
import pytest
from scipy import stats

from lib.evaluation.chance import accuracy_interval, chance_level, chance_p
from lib.evaluation.losses import Pairing, equivalence_p, holm, loss_interval, mcnemar_p

SIZES = (200, 2000, 50_000)
RUNS = 1500  # 5 % of them have a standard deviation of 0.56 %


def counts(total: int, fixed: float, broken: float, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Images that mapping fixed and broke, where each does so with this probability."""
    draw = np.random.default_rng(total)
    found = draw.multinomial(total, [fixed, broken, 1 - fixed - broken], shape)
    return found[..., 0], found[..., 1]


@pytest.mark.parametrize("total", SIZES)
@pytest.mark.parametrize("networks", [2, 3, 10])
def test_no_difference_is_called_one_in_five_percent_of_runs_at_most(total: int, networks: int) -> None:
    """Whatever the number of directions: "loses" or "gains" stands nowhere in 95 % of runs."""
    directions = networks * (networks - 1)
    p = mcnemar_p(*counts(total, 0.06, 0.06, (RUNS, directions)))
    wrong = np.mean([min(holm(row.tolist())) < 0.05 for row in p])
    assert wrong < 0.065


@pytest.mark.parametrize("total", SIZES)
def test_intervals_of_all_directions_hold_at_once(total: int) -> None:
    fixed, broken = counts(total, 0.03, 0.08, (RUNS, 12))
    low, high = loss_interval(fixed, broken, total, 0.05 / 12)
    assert ((low <= 5) & (high >= 5)).all(1).mean() > 0.935


@pytest.mark.parametrize("total", SIZES)
@pytest.mark.parametrize("loss", [0.01, -0.01])
def test_a_loss_of_the_margin_is_called_equivalent_in_five_percent_at_most(total: int, loss: float) -> None:
    fixed, broken = counts(total, 0.05 - loss / 2, 0.05 + loss / 2, (RUNS,))
    assert (equivalence_p(fixed, broken, total, 1.0) < 0.05).mean() < 0.065


def test_equivalence_is_found_where_there_are_images_enough() -> None:
    """No loss, 6 % of the answers change each way: 50,000 images show it within 1 point, 200 never."""
    power = {total: (equivalence_p(*counts(total, 0.06, 0.06, (RUNS,)), total, 1.0) < 0.05).mean() for total in SIZES}
    assert power[50_000] > 0.99
    assert power[200] == 0


def test_equivalence_is_the_ninety_percent_interval_within_the_margin() -> None:
    for fixed, broken in ((10, 14), (30, 31), (3, 40), (0, 0), (200, 180)):
        pairing = Pairing(600, fixed, broken, 2000 - 600 - fixed - broken)
        low, high = pairing.interval(0.10)
        assert (pairing.p_equivalent(1.5) < 0.05) == (low > -1.5 and high < 1.5)


@pytest.mark.parametrize("total", SIZES)
@pytest.mark.parametrize("balanced", [True, False])
def test_answers_dealt_at_random_are_called_better_than_chance_in_five_percent_at_most(
    total: int, balanced: bool
) -> None:
    draw = np.random.default_rng(total)
    shares = np.full(20, 0.05) if balanced else np.array([0.62, *np.full(19, 0.02)])
    wrong = 0
    for _ in range(400):
        label, answers = (draw.choice(20, total, p=shares) for _ in range(2))
        wrong += chance_p(int((label == answers).sum()), total, chance_level(label, answers)) < 0.05
    assert wrong / 400 < 0.085, "5 % has a standard deviation of 1.1 %"


def test_five_times_chance_is_no_chance() -> None:
    """200 images, 1,000 classes, 1 right where 0.2 are by chance: nothing is shown; 5 of them are something."""
    label = np.arange(200) % 1000
    answers = np.where(np.arange(200) < 5, label, (label + 1) % 1000)
    chance = chance_level(label, answers)
    assert chance < 0.006
    assert chance_p(5, 200, chance) < 0.01
    assert chance_level(np.array([3]), np.array([3])) == 1, "one image, right: every answer would be"
    assert chance_level(np.array([3, 3, 4, 5]), np.array([3, 9, 9, -1])) == pytest.approx(2 / 4 / 4)


@pytest.mark.parametrize(("correct", "total"), [(0, 20), (1, 200), (130, 200), (200, 200)])
def test_intervals_of_accuracies_are_scipys(correct: int, total: int) -> None:
    expected = stats.binomtest(correct, total).proportion_ci(0.95, "exact")
    assert accuracy_interval(correct, total) == pytest.approx((expected.low, expected.high))
