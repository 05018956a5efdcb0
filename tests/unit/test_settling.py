"""Whether a fit came to rest or diverged: from its curve, and from the length of what it maps to. It is said."""

from dataclasses import replace

import numpy as np
import pytest
from made_up import findings
from test_results import AFFINE, DIRECTIONS, INC, RES, TO_R, judged

from lib.evaluation.judging import Mapped, evaluate_map, main_mapping
from lib.maps.settling import shape_of
from lib.report.verdict import verdict

NOISE = np.random.default_rng(0).normal(0, 0.005, 1000)
STEPS = np.arange(1000)


@pytest.mark.parametrize(
    ("errors", "state"),
    [
        (0.3 + np.exp(-STEPS / 50) + NOISE, "settled"),
        (2 * np.exp(-STEPS / 500) + NOISE, "falling"),
        (0.3 + STEPS / 1000 + NOISE, "rising"),
        (np.where(STEPS > 900, np.nan, 0.3), "diverged"),
        (0.3 + 40 * NOISE, "settled"),  # as noisy as it is, nothing is shown
        (np.full(5, 0.3), "falling"),  # too few to tell
        (np.zeros(1000), "settled"),
    ],
)
def test_the_state_of_a_curve(errors: np.ndarray, state: str) -> None:
    assert shape_of(errors)["state"] == state


def test_a_change_is_a_share_of_the_tenth_before() -> None:
    shape = shape_of(np.repeat([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.45, 0.42, 0.4, 0.3], 10))
    assert shape == {"first": 1.0, "last": pytest.approx(0.3), "change": pytest.approx(-0.25), "state": "falling"}


@pytest.mark.parametrize("ratio", [1e34, 1e-9, float("nan")])
def test_vectors_beyond_all_measure_are_a_fit_that_diverged(ratio: float) -> None:
    """E does not show it: it knows no lengths."""
    curve, found = shape_of(0.3 + NOISE), judged(INC, RES, TO_R)
    rows = [evaluate_map(("a", "b"), found, Mapped(AFFINE, 0.3, None), DIRECTIONS, 1.0)]
    assert main_mapping(found, AFFINE, rows, curve)["fit_curve"]["state"] == "settled"
    assert "fit_curve" not in main_mapping(found, AFFINE, rows)
    wild = replace(found, length_ratio={AFFINE.column: ratio})
    rows = [evaluate_map(("a", "b"), wild, Mapped(AFFINE, 0.3, None), DIRECTIONS, 1.0)]
    assert main_mapping(wild, AFFINE, rows, curve)["fit_curve"]["state"] == "diverged"


@pytest.mark.parametrize("networks", [2, 4])
def test_the_verdict_says_it(networks: int) -> None:
    results = findings({name: 0.8 for name in "abcd"[:networks]}).results
    assert "diverged" not in verdict(results)
    first, second = results["mappings"][:2]
    first["fit_curve"] = {"first": 1.0, "last": 0.5, "change": 0.0, "state": "diverged"}
    first["length_ratio"] = 1e34
    second["fit_curve"] = {"first": 1.0, "last": 0.5, "change": -0.034, "state": "falling"}
    said = verdict(results)
    assert "a → b diverged: mapped vectors are up to 1e+34 times as long" in said
    assert "was still changing by up to 3 % over the last tenth" in said
    assert "smaller fit.learning_rate" in said
