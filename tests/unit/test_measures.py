"""Measures of two representations: known values, what they don't change under, and what they do."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from lib.evaluation.cka import CrossSums
from lib.evaluation.feature_fit import r_squared, skill
from lib.evaluation.neighbours import nearest_neighbours, neighbour_overlap
from lib.features.sampling import sample_rows

draw = np.random.default_rng(0)
F = draw.normal(size=(200, 12)) + 3
G = draw.normal(size=(200, 7))


def cka(F_A: np.ndarray, F_B: np.ndarray) -> float:
    found = CrossSums.of({"a": F_A, "b": F_B}).cka("a", "b")
    assert found is not None
    return found


def cka_by_kernels(F_A: np.ndarray, F_B: np.ndarray) -> float:
    """Kornblith et al. 2019, equation 5, with the n x n kernels and HSIC of equation 3: another way to the same."""
    H = np.eye(len(F_A)) - 1 / len(F_A)
    K, L = H @ F_A @ F_A.T @ H, H @ F_B @ F_B.T @ H
    return float((K * L).sum() / np.sqrt((K * K).sum() * (L * L).sum()))


def test_cka_is_the_kernels() -> None:
    mixed = F[:, :7] + G
    assert cka(F, mixed) == pytest.approx(cka_by_kernels(F, mixed))
    assert 0.05 < cka(F, mixed) < 0.95


def test_cka_knows_no_rotation_scale_or_offset_but_knows_linear_maps() -> None:
    rotated = 5 * F @ ortho_group.rvs(12, random_state=1) - 2
    assert cka(F, rotated) == pytest.approx(1)
    assert cka(F + G[:, :1], rotated) == pytest.approx(cka(F + G[:, :1], F))
    assert cka(F, F * np.logspace(0, 2, 12)) < 0.9
    for constant in (np.ones((200, 3)), np.full((200, 1), 0.1), np.zeros((200, 2))):
        assert CrossSums.of({"a": F, "b": constant}).cka("a", "b") is None


def unbiased_by_kernels(F_A: np.ndarray, F_B: np.ndarray) -> float:
    """Song et al. 2012, equation 5, with the n x n kernels."""
    n = len(F_A)

    def hsic(X: np.ndarray, Y: np.ndarray) -> float:
        K, L = ((Z @ Z.T) * (1 - np.eye(n)) for Z in (X, Y))
        return float(np.trace(K @ L) + K.sum() * L.sum() / ((n - 1) * (n - 2)) - 2 * (K.sum(0) @ L.sum(0)) / (n - 2))

    return hsic(F_A, F_B) / float(np.sqrt(hsic(F_A, F_A) * hsic(F_B, F_B)))


def test_unbiased_cka_is_the_kernels_and_near_zero_for_strangers() -> None:
    mixed = F[:, :7] + G
    for order in ("ab", "ba"):
        sums = CrossSums.of({"a": F, "b": mixed})
        assert sums.unbiased_cka(*order) == pytest.approx(unbiased_by_kernels(F, mixed))
    assert CrossSums.of({"a": F + 5, "b": 3 * mixed}).unbiased_cka("a", "b") == pytest.approx(
        unbiased_by_kernels(F, mixed)
    )
    few, others = draw.normal(size=(40, 600)), draw.normal(size=(40, 500))
    strangers = CrossSums.of({"a": few, "b": others})
    assert strangers.cka("a", "b") > 0.9  # type: ignore[operator]
    assert abs(strangers.unbiased_cka("a", "b")) < 0.1  # type: ignore[arg-type]
    parts = [CrossSums.of({"a": F[k::3], "b": mixed[k::3]}) for k in range(3)]
    assert (parts[0] + parts[1] + parts[2]).unbiased_cka("a", "b") == pytest.approx(unbiased_by_kernels(F, mixed))
    assert CrossSums.of({"a": F[:3], "b": mixed[:3]}).unbiased_cka("a", "b") is None
    assert CrossSums.of({"a": F, "b": np.ones((200, 3))}).unbiased_cka("a", "b") is None


def test_sums_of_parts_merge_in_any_order() -> None:
    whole = CrossSums.of({"a": F, "b": G})
    parts = [CrossSums.of({"a": F[k::3], "b": G[k::3]}) for k in range(3)]
    merged = parts[2] + parts[0] + parts[1]
    assert merged.n == 200
    for one, other in (("a", "b"), ("b", "a"), ("a", "a")):
        assert merged.cka(one, other) == pytest.approx(whole.cka(one, other))
    np.testing.assert_allclose(merged.unit["b"], (G / np.linalg.norm(G, axis=1, keepdims=True)).sum(0))
    with pytest.raises(ValueError, match="of the same images"):
        CrossSums.of({"a": F, "b": G[:5]})


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def squares(rows: np.ndarray) -> float:
    return float(np.square(rows).sum())


@pytest.mark.parametrize("zeros", [0, 1, 20])
def test_r2_and_skill_are_those_of_the_vectors(zeros: int) -> None:
    """A target of zeros counts, and has no direction."""
    mapped = np.concatenate([unit(G + 0.3 * draw.normal(size=G.shape)), unit(draw.normal(size=(zeros, 7)))])
    own = np.concatenate([unit(G), np.zeros((zeros, 7))])
    directions = CrossSums.of({"b": np.concatenate([3 * G, np.zeros((zeros, 7))])}).directions("b")
    assert directions.directed == 200
    error = np.square(mapped - own).sum(1).mean()
    assert r_squared(directions, error) == pytest.approx(1 - squares(own - mapped) / squares(own - own.mean(0)))
    always = own.mean(0) / np.linalg.norm(own.mean(0))
    assert skill(directions, error) == pytest.approx(1 - squares(own - mapped) / squares(own - always))


def test_zero_and_one_of_r2_and_skill() -> None:
    own = unit(G + 1)
    directions = CrossSums.of({"b": own}).directions("b")
    mean = own.mean(0)
    always = np.square(own - mean / np.linalg.norm(mean)).sum(1).mean()
    assert skill(directions, always) == pytest.approx(0), "always answering the mean direction"
    assert r_squared(directions, np.square(own - mean).sum(1).mean()) == pytest.approx(0), "the mean vector itself"
    length = np.linalg.norm(mean)
    assert r_squared(directions, always) == pytest.approx(-(1 - length) / (1 + length))
    assert skill(directions, 0.0) == r_squared(directions, 0.0) == 1
    same = CrossSums.of({"b": np.tile(own[:1], (5, 1))}).directions("b")
    assert skill(same, 0.5) is r_squared(same, 0.5) is None


@pytest.mark.parametrize("block", [3, 64, 1000])
def test_nearest_are_those_of_the_whole_matrix(block: int) -> None:
    similar = unit(F) @ unit(F).T
    np.fill_diagonal(similar, -np.inf)
    expected = np.argsort(-similar, axis=1)[:, :5]
    np.testing.assert_array_equal(nearest_neighbours(F, 5, block=block), expected)
    np.testing.assert_array_equal(nearest_neighbours(F, 5, 40, 60, block), expected[40:60])


def test_of_equally_near_rows_the_lower_number_counts() -> None:
    rows = np.repeat(np.eye(2), 4, axis=0)
    for block in (1, 3, 8):
        assert nearest_neighbours(rows, 2, block=block).tolist() == [
            [1, 2],
            [0, 2],
            [0, 1],
            [0, 1],
            [5, 6],
            [4, 6],
            [4, 5],
            [4, 5],
        ]
    with pytest.raises(ValueError, match="more than k = 8 rows, got 8"):
        nearest_neighbours(rows, 8)


def test_overlap_is_one_for_rotations_and_chance_for_strangers() -> None:
    near = nearest_neighbours(F, 10)
    assert (neighbour_overlap(near, nearest_neighbours(7 * F @ ortho_group.rvs(12, random_state=2), 10)) == 1).all()
    strangers = neighbour_overlap(
        nearest_neighbours(draw.normal(size=(2000, 9)), 10), nearest_neighbours(draw.normal(size=(2000, 9)), 10)
    )
    assert strangers.mean() == pytest.approx(10 / 1999, abs=0.002)
    assert neighbour_overlap(np.array([[1, 2], [0, 3]]), np.array([[2, 5], [3, 0]])).tolist() == [0.5, 1]


def test_samples_are_of_the_same_images_in_any_order() -> None:
    ids = [f"n{k}.JPEG" for k in range(100)]
    chosen = [ids[k] for k in sample_rows(ids, 10)]
    backwards = ids[::-1]
    assert [backwards[k] for k in sample_rows(backwards, 10)] == chosen
    assert len(sample_rows(ids, 1000)) == 100
    assert chosen != ids[:10]
