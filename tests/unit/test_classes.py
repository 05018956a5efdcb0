"""Loss by class, the choice of images to show, and the order of networks."""

import numpy as np

from lib.evaluation.classes import count_by_class
from lib.evaluation.examples import choose_examples
from lib.evaluation.ordering import give_and_take, order_networks


def test_classes_are_counted_greatest_losses_first() -> None:
    label = np.array([3, 3, 3, 0, 0, 7])
    own = np.array([1, 1, 0, 1, 0, 0], bool)
    mapped = np.array([0, 0, 0, 1, 0, 1], bool)
    pair = {"source": "s", "target": "t"}
    found = count_by_class(("s", "t"), label, own, mapped, ["a", "b", "c", "d", "e", "f", "g", "h"])
    assert found.to_pylist() == [
        {**pair, "label": 3, "name": "d", "total": 3, "own": 2, "mapped": 0},
        {**pair, "label": 0, "name": "a", "total": 2, "own": 1, "mapped": 1},
        {**pair, "label": 7, "name": "h", "total": 1, "own": 0, "mapped": 1},
    ]
    assert set(count_by_class(("s", "t"), label, own, mapped)["name"].to_pylist()) == {None}


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
