"""Losses from counts, and the regions: identities for all inputs, the interval's coverage by simulation."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.evaluation.losses import Pairing, holm
from lib.evaluation.regions import REGIONS, count_regions

rights = st.integers(1, 60).flatmap(lambda n: st.tuples(*[arrays.arrays(bool, n)] * 3))


@given(rights)
def test_identities(sets: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    own, source, mapped = sets
    pairing = Pairing.count(own, mapped)
    assert pairing.fixed - pairing.broken == mapped.sum() - own.sum()
    assert pairing.loss == pytest.approx(100 * (own.mean() - mapped.mean()))
    low, high = pairing.interval()
    assert -100 <= low <= high <= 100
    regions = count_regions(own, source, mapped)
    assert tuple(regions) == REGIONS
    assert sum(regions.values()) == len(own)
    assert sum(count for name, count in regions.items() if "mapped" in name) == mapped.sum()


@given(rights, st.integers(0, 60))
def test_merged_counts_are_the_counts_of_all(sets: tuple[np.ndarray, ...], cut: int) -> None:
    own, _, mapped = sets
    pieces = Pairing.count(own[:cut], mapped[:cut]) + Pairing.count(own[cut:], mapped[cut:])
    assert pieces == Pairing.count(own, mapped)


def test_interval_of_known_counts() -> None:
    """By hand from Bonett and Price's formula: n = 100, broken 10, fixed 4."""
    p1, p2 = 11 / 102, 5 / 102
    half = 1.959964 * np.sqrt((p1 + p2 - (p1 - p2) ** 2) / 102)
    low, high = Pairing(both=60, fixed=4, broken=10, neither=26).interval()
    assert (low, high) == pytest.approx((100 * (p1 - p2 - half), 100 * (p1 - p2 + half)), abs=1e-4)


@pytest.mark.parametrize("rates", [(0.03, 0.08), (0.15, 0.15), (0.01, 0.02)])
def test_interval_covers_the_truth_95_times_in_100(rates: tuple[float, float]) -> None:
    fixed, broken = rates
    counts = np.random.default_rng(0).multinomial(300, [0.5, fixed, broken, 0.5 - fixed - broken], 2000)
    intervals = np.array([Pairing(*row).interval() for row in counts.tolist()])
    truth = 100 * (broken - fixed)
    covered = ((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])).mean()
    assert 0.935 < covered < 0.985


def test_arrays_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        Pairing.count(np.ones(2, bool), np.ones(3, bool))
    with pytest.raises(ValueError, match="one length"):
        count_regions(np.ones(2, bool), np.ones(2, bool), np.ones(3, bool))


@pytest.mark.parametrize(
    ("fixed", "broken", "expected"),
    [
        (0, 0, 1.0),
        (5, 0, 2 / 32),
        (0, 5, 2 / 32),
        (3, 3, 1.0),
        (1, 7, 2 * (1 + 8) / 256),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
    ],
)
def test_mcnemars_exact_test_is_a_coins(fixed: int, broken: int, expected: float) -> None:
    """Tails of Pascal's triangle, counted by hand."""
    assert Pairing(10, fixed, broken, 4).p_value == pytest.approx(expected)


def test_holms_correction() -> None:
    """Holm 1979's procedure by hand: 0.01 x 4, 0.02 x 3, 0.03 x 2, then never less than one before."""
    assert holm([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([0.04]) == [0.04]
