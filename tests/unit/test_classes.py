"""Loss by class, the choice of images to show, and the order of networks."""

import numpy as np
import pytest

from lib.evaluation.classes import count_by_class, shrunken_losses
from lib.evaluation.examples import choose_examples
from lib.evaluation.ordering import give_and_take, order_networks


def test_classes_are_counted_greatest_losses_first_and_single_images_last() -> None:
    label = np.array([3, 3, 3, 0, 0, 7])
    own = np.array([1, 1, 0, 1, 0, 0], bool)
    mapped = np.array([0, 0, 0, 1, 0, 1], bool)
    found = count_by_class(("s", "t"), label, own, mapped, ["a", "b", "c", "d", "e", "f", "g", "h"]).to_pylist()
    counts = [{key: row[key] for key in ("label", "name", "total", "own", "mapped")} for row in found]
    assert counts == [
        {"label": 3, "name": "d", "total": 3, "own": 2, "mapped": 0},
        {"label": 0, "name": "a", "total": 2, "own": 1, "mapped": 1},
        {"label": 7, "name": "h", "total": 1, "own": 0, "mapped": 1},
    ]
    assert {(row["source"], row["target"]) for row in found} == {("s", "t")}
    assert [row["p_value"] for row in found] == [0.5, 1.0, 1.0]
    assert [row["q_value"] for row in found] == [1.0, 1.0, 1.0]
    assert set(count_by_class(("s", "t"), label, own, mapped)["name"].to_pylist()) == {None}


def test_classes_that_lose_the_same_are_not_said_to_lose_more() -> None:
    """1,000 classes of 50 images lose 4.3 points each: the 30 that look worst look like 15, and are said to be 4."""
    draw = np.random.default_rng(0)
    change = draw.multinomial(1, [0.02, 0.063, 0.917], 50_000)
    fixed, broken = (change[:, k].reshape(1000, 50).sum(1) for k in (0, 1))
    total = np.full(1000, 50)
    raw, shrunken = 100 * (broken - fixed) / total, shrunken_losses(total, fixed, broken)
    assert np.sort(raw)[-30:].mean() > 12
    assert np.abs(shrunken - 100 * (broken - fixed).sum() / 50_000).max() < 1.5
    assert shrunken.mean() == pytest.approx(raw.mean())


def test_true_differences_between_classes_are_kept() -> None:
    """Half of the classes lose 20 points, half nothing: with 500 images each, estimates stay near the truth."""
    draw = np.random.default_rng(1)
    rates = np.tile([0.02, 0.22], 50)
    broken, fixed = draw.binomial(500, rates), draw.binomial(500, 0.02, 100)
    found = shrunken_losses(np.full(100, 500), fixed, broken)
    np.testing.assert_allclose(found, 100 * (rates - 0.02), atol=7)
    true = 100 * (rates - 0.02)
    raw = 100 * (broken - fixed) / 500
    assert np.square(found - true).mean() < np.square(raw - true).mean(), "nearer than the raw ones"


def test_examples_are_the_same_in_any_order_and_change_with_the_seed() -> None:
    ids = np.array([f"i{k}" for k in range(50)], object)
    chosen = np.arange(50) % 2 == 0
    found = choose_examples(ids, chosen, 6, 0)
    assert choose_examples(ids[::-1], chosen[::-1], 6, 0) == found
    assert choose_examples(ids, chosen, 6, 1) != found
    assert len(found) == 6
    assert all(int(name[1:]) % 2 == 0 for name in found)
    assert choose_examples(ids, np.zeros(50, bool), 6, 0) == []


def test_similar_networks_stand_beside_each_other() -> None:
    kind = {"a1": 0, "b1": 1, "a2": 0, "b2": 1, "a3": 0}
    losses = {(s, t): (-1.0 if kind[s] == kind[t] else 20.0) for s in kind for t in kind if s != t}
    kinds = [kind[name] for name in order_networks(list(kind), losses)]
    assert kinds in ([0, 0, 0, 1, 1], [1, 1, 0, 0, 0])
    assert order_networks(["x", "y"], {("x", "y"): 1, ("y", "x"): 2}) == ["x", "y"]


def test_what_networks_give_and_take() -> None:
    losses = {("a", "b"): 1.0, ("a", "c"): 3.0, ("b", "a"): 5.0, ("b", "c"): 7.0, ("c", "a"): 9.0, ("c", "b"): 11.0}
    found = give_and_take(["a", "b", "c"], losses)
    assert found["a"] == {"gives": 2, "takes": 7}
    assert found["c"] == {"gives": 10, "takes": 5}
