"""Rows of closed forms, evaluation and neighbours compare equal work; how fast is not for tests to say."""

import numpy as np
import pytest

from lib.benchmarks.closed_forms import decompositions, made_up_sums, products, time_closed_forms
from lib.benchmarks.measures import beside_numpy, beside_scikit_learn
from lib.evaluation.neighbours import largest
from lib.experiment.variants import Variant


def test_closed_forms_are_timed_beside_their_decompositions() -> None:
    rows = time_closed_forms(1, size=24, rows=800)
    assert len({row.reference_is for row in rows}) == 2
    assert all(row.ratio > 0 for row in rows)
    parts = made_up_sums(800, 24)
    assert decompositions(parts, [Variant("orthogonal")])[1] == 1
    assert decompositions(parts, [Variant("least_squares")])[1] == 1 + 4, "all rows, and four folds left out"
    assert products(24, [Variant("least_squares")])[1] == 2 * (1 + 4)
    assert products(24, [Variant("orthogonal")])[1] == 0


def test_evaluation_is_timed_on_equal_losses() -> None:
    row = beside_numpy(500, 1)
    assert "500 images, 13 kinds of map" in row.note
    assert row.ratio > 0


def test_neighbours_are_scikit_learns() -> None:
    pytest.importorskip("sklearn")
    assert "100.0000% of them are the same" in beside_scikit_learn(300, 1).note


@pytest.mark.parametrize("k", [1, 3, 7])
def test_the_largest_come_first_and_of_equal_ones_the_first(k: int) -> None:
    random = np.random.default_rng(k)
    for values in (
        random.standard_normal((50, 40)).astype(np.float32),
        random.integers(0, 3, (50, 40)).astype(np.float32),
        np.zeros((5, 7), np.float32),
        np.full((4, 9), -np.inf, np.float32),
    ):
        expected = np.argsort(-values, axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(largest(values, k), expected)
