"""Closed-form maps, against solvers that know nothing of sums: numpy's lstsq on the rows, scipy's Procrustes, ALS."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import linalg, spatial

from lib.experiment.variants import PARTS, SHARES, Variant
from lib.maps.affine import AffineMap
from lib.maps.classifier_maps import from_classifiers
from lib.maps.closed_forms import ClosedForms, folds_of
from lib.maps.error import unit_distance
from lib.maps.few_rows import FewRows
from lib.maps.moments import Moments, SourceMoments
from lib.maps.procrustes import orthogonal
from lib.maps.ridge import RIDGES, choose_ridge, least_squares, low_rank
from lib.maps.row_space import row_space
from lib.networks.classifiers import Classifier


def correlated(n: int = 200, d_A: int = 6, d_B: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features with a mean, correlations, and a noisy affine relation; target lengths differ."""
    draw = np.random.default_rng(seed)
    F_A = draw.normal(size=(n, d_A)) @ draw.normal(size=(d_A, d_A)) + draw.normal(size=d_A)
    F_B = F_A @ draw.normal(size=(d_A, d_B)) + 2 * draw.normal(size=(n, d_B)) + 3
    return F_A, F_B


def known_pair(d_A: int, d_B: int, isometric: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A's features are an affine map of B's unit vectors, one to one: some affine map takes them back exactly."""
    draw = np.random.default_rng(3)
    Y = unit(draw.normal(size=(300, d_B)) + 0.3)
    into = np.linalg.qr(draw.normal(size=(d_A, d_B)))[0] * 2.5 if isometric else draw.normal(size=(d_A, d_B))
    return Y @ into.T + draw.normal(size=d_A), Y * draw.uniform(1, 9, (300, 1))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def applied(m: AffineMap, F_A: np.ndarray) -> np.ndarray:
    assert m.weight.dtype == m.bias.dtype == torch.float32
    return AffineMap(m.weight.double(), m.bias.double())(torch.from_numpy(F_A)).numpy()


def error(F_A: np.ndarray, F_B: np.ndarray, m: AffineMap) -> float:
    return float(unit_distance(torch.from_numpy(F_B), torch.from_numpy(applied(m, F_A))).mean())


def mean_length(F_B: np.ndarray) -> float:
    return float(np.linalg.norm(F_B, axis=1).mean())


def ridge_by_rows(X: np.ndarray, Y: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression as least squares with a row sqrt(lambda) e_i -> 0 for each weight; none for the bias."""
    d = X.shape[1]
    penalty = np.sqrt(ridge * ((X - X.mean(0)) ** 2).sum() / d)
    rows = np.block([[X, np.ones((len(X), 1))], [penalty * np.eye(d), np.zeros((d, 1))]])
    solution = np.linalg.lstsq(rows, np.vstack([Y, np.zeros((d, Y.shape[1]))]), rcond=None)[0]
    return solution[:-1].T, solution[-1]


@pytest.mark.parametrize("ridge", [0, 1e-3, 0.5, 30])
@pytest.mark.parametrize("sizes", [(6, 4), (4, 6)])
def test_least_squares_is_numpys_of_the_rows_at_the_targets_mean_length(ridge: float, sizes: tuple[int, int]) -> None:
    F_A, F_B = correlated(200, *sizes)
    found = least_squares(Moments.of(F_A, F_B), ridge)
    weight, bias = ridge_by_rows(F_A, unit(F_B), ridge)
    np.testing.assert_allclose(found.weight, mean_length(F_B) * weight, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.bias, mean_length(F_B) * bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ridge", [0, 1e-3, 0.5])
def test_more_dimensions_than_rows(ridge: float) -> None:
    """Against the dual form (n, n), W = Y^T (X X^T + lambda)^+ X with rows centred."""
    F_A, F_B = correlated(20, 50, 7)
    X, Y = F_A - F_A.mean(0), unit(F_B) - unit(F_B).mean(0)
    dual = np.linalg.pinv(X @ X.T + ridge * (X**2).sum() / 50 * np.eye(20), rcond=1e-12)
    found = least_squares(Moments.of(F_A, F_B), ridge)
    np.testing.assert_allclose(found.weight, mean_length(F_B) * Y.T @ dual @ X, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sizes", [(5, 3), (4, 4)])
def test_a_known_map_is_found_again(sizes: tuple[int, int]) -> None:
    F_A, F_B = known_pair(*sizes)
    m = least_squares(Moments.of(F_A, F_B), 0)
    assert error(F_A, F_B, m) < 1e-9
    np.testing.assert_allclose(np.linalg.norm(applied(m, F_A), axis=1), mean_length(F_B), rtol=1e-5)


def test_constant_features_get_no_weight_and_change_nothing() -> None:
    F_A, F_B = correlated()
    plain = least_squares(Moments.of(F_A, F_B), 0.2)
    with_constants = np.column_stack([np.zeros(200), F_A, np.full(200, 0.3)])
    found = least_squares(Moments.of(with_constants, F_B), 0.2 * 8 / 6)  # two more dimensions share the trace
    np.testing.assert_allclose(found.weight[:, 1:-1], plain.weight, rtol=1e-5)
    np.testing.assert_allclose(found.weight[:, [0, -1]], np.zeros((4, 2)), atol=1e-12)
    np.testing.assert_allclose(found.bias, plain.bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("constants", [[0.1, 0.2, 0.3], [0.1, 3.3, 1e3], [0.7, 0.7, 0.7], [0, 0, 0]])
def test_only_constant_features_give_the_mean_target(constants: list[float]) -> None:
    """Centred sums aren't quite zero then, by rounding, and of either sign."""
    F_A, F_B = np.tile(constants, (200, 1)), correlated()[1]
    for m in (
        least_squares(Moments.of(F_A, F_B), 1e-3),
        orthogonal(Moments.of(F_A, F_B)),
        *low_rank(Moments.of(F_A, F_B), 1e-3, [1]).values(),
    ):
        expected = mean_length(F_B) * unit(F_B).mean(0)
        np.testing.assert_allclose(m.bias, expected, rtol=1e-5)
        np.testing.assert_array_equal(m.weight, np.zeros((4, 3)))


@pytest.mark.parametrize("fit", [lambda m: least_squares(m, 0.1), orthogonal, lambda m: low_rank(m, 0.1, [2])[2]])
def test_moved_turned_scaled_and_repeated_source_rows_are_mapped_alike(fit) -> None:  # type: ignore[no-untyped-def]
    F_A, F_B = correlated()
    expected = applied(fit(Moments.of(F_A, F_B)), F_A)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    changed = 7 * F_A @ turn + 20
    np.testing.assert_allclose(applied(fit(Moments.of(changed, F_B)), changed), expected, rtol=1e-4, atol=1e-4)
    once = Moments.of(F_A, F_B)
    np.testing.assert_allclose(applied(fit(once + once), F_A), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("by_scores", [False, True])
def test_held_out_errors_are_those_of_refits_on_the_rows(by_scores: bool) -> None:
    F_A, F_B = correlated(90)
    C_B = np.random.default_rng(5).normal(size=(9, 4)) + 2 if by_scores else None
    found = choose_ridge([Moments.of(F_A[k::3], F_B[k::3]) for k in range(3)], [1e-4, 0.1, 3, 50], C_B)
    expected = dict.fromkeys([1e-4, 0.1, 3, 50], 0.0)
    for ridge in expected:
        for k in range(3):
            inside = np.arange(90) % 3 == k
            weight, bias = ridge_by_rows(F_A[~inside], unit(F_B[~inside]), ridge)
            wrong = unit(F_B[inside]) - F_A[inside] @ weight.T - bias
            if C_B is not None:
                scores = wrong @ C_B.T
                wrong = scores - scores.mean(1, keepdims=True)
            expected[ridge] += (wrong**2).sum() / 90
    first = next(iter(expected))  # errors are told up to what is the same for all
    differences = ({ridge: errors[ridge] - errors[first] for ridge in expected} for errors in (found[1], expected))
    assert next(differences) == pytest.approx(next(differences), rel=1e-9, abs=1e-12)
    assert found[0] == min(expected, key=expected.__getitem__)


def test_an_exact_relation_asks_for_the_smallest_ridge() -> None:
    F_A, F_B = known_pair(5, 3)
    assert choose_ridge([Moments.of(F_A[k::4], F_B[k::4]) for k in range(4)])[0] == min(RIDGES)


def test_unrelated_features_ask_for_more_ridge_the_more_the_better() -> None:
    """True of the expected error; one draw can deny it, so the errors of twenty are added up."""
    total = np.zeros(4)
    for seed in range(20):
        F_A, F_B = np.split(np.random.default_rng(seed).normal(size=(60, 80)), 2, axis=1)
        errors = choose_ridge([Moments.of(F_A[k::4], F_B[k::4]) for k in range(4)], [1e-4, 1e-2, 1, 100])[1]
        total += list(errors.values())
    assert (np.diff(total) < 0).all()


def test_the_two_measures_of_error_differ_where_the_classifier_reads_little() -> None:
    """Many target features have nothing of the source: they ask for a large ridge, but no class score reads them."""
    draw = np.random.default_rng(2)
    F_A = draw.normal(size=(60, 20))
    F_B = np.column_stack([F_A[:, :2] + 0.01 * draw.normal(size=(60, 2)), 3 * draw.normal(size=(60, 30))]) + 1
    C_B = np.column_stack([np.eye(2), np.zeros((2, 30))])
    folds = [Moments.of(F_A[k::5], F_B[k::5]) for k in range(5)]
    assert choose_ridge(folds, classifier_weight=C_B)[0] < choose_ridge(folds)[0]


def test_square_procrustes_is_scipys() -> None:
    F_A, F_B = correlated(d_A=5, d_B=5)
    X, Y = F_A - F_A.mean(0), unit(F_B) - unit(F_B).mean(0)
    rotation, nuclear = linalg.orthogonal_procrustes(X, Y)  # X @ rotation ~ Y
    found = orthogonal(Moments.of(F_A, F_B))
    np.testing.assert_allclose(found.weight, mean_length(F_B) * nuclear / (X**2).sum() * rotation.T, rtol=1e-5)
    np.testing.assert_allclose(applied(found, F_A).mean(0), mean_length(F_B) * unit(F_B).mean(0), rtol=1e-5)


@pytest.mark.parametrize("sizes", [(5, 5), (3, 5)])
def test_a_similarity_into_as_many_or_more_dimensions_is_as_near_as_scipys(sizes: tuple[int, int]) -> None:
    """scipy scales both to length 1 and reports the smallest sum of squares; a smaller space gets columns of zeros."""
    F_A, F_B = correlated(200, *sizes)
    padded = np.pad(F_A - F_A.mean(0), ((0, 0), (0, 5 - sizes[0])))
    disparity = spatial.procrustes(unit(F_B), padded)[2]
    left = unit(F_B) - applied(orthogonal(Moments.of(F_A, F_B)), F_A) / mean_length(F_B)
    assert (left**2).sum() / ((unit(F_B) - unit(F_B).mean(0)) ** 2).sum() == pytest.approx(disparity, rel=1e-6)


def test_projection_is_the_transpose_of_the_targets_best_embedding() -> None:
    F_A, F_B = correlated(200, 7, 3)
    X, Y = F_A - F_A.mean(0), unit(F_B) - unit(F_B).mean(0)
    embedding = linalg.orthogonal_procrustes(np.pad(Y, ((0, 0), (0, 4))), X)[0][:3]  # (3, 7): Y @ embedding ~ X
    scale = (X @ embedding.T * Y).sum() / ((X @ embedding.T) ** 2).sum()  # regression of Y on X W^T, one number
    found = orthogonal(Moments.of(F_A, F_B))
    np.testing.assert_allclose(found.weight, mean_length(F_B) * scale * embedding, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sizes", [(5, 5), (3, 8), (8, 3)])
def test_smaller_side_of_the_weight_is_orthonormal_up_to_one_scale(sizes: tuple[int, int]) -> None:
    weight = orthogonal(Moments.of(*correlated(40, *sizes))).weight.double().numpy()
    gram = weight.T @ weight if sizes[0] < sizes[1] else weight @ weight.T
    np.testing.assert_allclose(gram, gram[0, 0] * np.eye(min(sizes)), atol=1e-6 * gram[0, 0])
    assert gram[0, 0] > 0


@pytest.mark.parametrize("sizes", [(60, 50), (50, 60)])
def test_without_enough_rows_procrustes_is_the_one_of_least_norm(sizes: tuple[int, int]) -> None:
    """40 rows reach 39 directions; the weight has no part in others, in either space."""
    F_A, F_B = correlated(40, *sizes)
    weight = orthogonal(Moments.of(F_A, F_B)).weight.double().numpy()
    sigma = np.linalg.svd(weight, compute_uv=False)
    np.testing.assert_allclose(sigma[:39], sigma[0], rtol=1e-5)
    assert (sigma[39:] < 1e-5 * sigma[0]).all()
    for rows, size, side in ((F_A, sizes[0], weight), (unit(F_B), sizes[1], weight.T)):
        reached = np.linalg.svd(rows - rows.mean(0))[2][:39]
        nothing = np.eye(size) - reached.T @ reached
        np.testing.assert_allclose(side @ nothing, 0, atol=1e-5 * sigma[0])


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize(
    "fit", [orthogonal, lambda sums: least_squares(sums, 0.1), lambda sums: low_rank(sums, 0.1, [3])[3]]
)
def test_maps_of_compressed_rows_are_those_of_the_rows(fit: Any, both: bool) -> None:
    F_A, F_B = correlated(25, 40, 30)
    space = row_space(F_A)
    assert space.shape == (40, 25)
    target_space = row_space(F_B) if both else None
    coordinates = F_B if target_space is None else F_B @ target_space.double().numpy()
    sums = SourceMoments.of(F_A @ space.double().numpy(), {"B": coordinates})
    found = fit(sums.pair("B", space, target_space))
    expected = fit(Moments.of(F_A, F_B))
    assert (found.d_A, found.weight.shape) == (40, (30, 40))
    torch.testing.assert_close(found.weight, expected.weight, rtol=1e-4, atol=1e-5 * float(expected.weight.abs().max()))
    torch.testing.assert_close(found.bias, expected.bias, rtol=1e-4, atol=1e-4)


def test_low_rank_maps_keep_their_factors(tmp_path: Path) -> None:
    found = low_rank(Moments.of(*correlated(80, 6, 4)), 0.1, [2, 4])
    assert len(found[4].factors) == 1
    left, right = found[2].factors
    assert (left.shape, right.shape) == ((4, 2), (2, 6))
    found[2].save(str(tmp_path / "m.safetensors"))
    read = AffineMap.load(str(tmp_path / "m.safetensors"))
    assert torch.equal(read.weight, found[2].weight)
    assert torch.equal(read.bias, found[2].bias)


def test_all_maps_of_a_source_are_those_of_each_pair() -> None:
    """From sums over the parts, each decomposed once, against sums and decompositions of each pair's own."""
    F_A, F_B = correlated(400, 7, 5)
    F_C = F_A[:, :3] ** 2
    part = np.searchsorted(np.cumsum(PARTS), np.random.default_rng(1).random(400), side="right")
    of_parts = [SourceMoments.of(F_A[part == k], {"B": F_B[part == k], "C": F_C[part == k]}) for k in range(len(PARTS))]
    forms = ClosedForms("A", of_parts)
    wanted = [
        Variant("least_squares"), Variant("orthogonal"), Variant("least_squares", rank=2),
        *(Variant("least_squares", share=share) for share in SHARES[:-1]),
    ]  # fmt: skip
    for target, F in (("B", F_B), ("C", F_C)):
        C_T = np.random.default_rng(2).normal(size=(9, F.shape[1]))
        classifier = Classifier(torch.from_numpy(C_T).float(), torch.zeros(9))
        found = {variant: (map_, described) for variant, map_, described in forms.maps(target, wanted, classifier)}
        assert found.keys() == set(wanted)
        for variant, (map_, described) in found.items():
            rows = part < variant.parts
            moments = Moments.of(F_A[rows], F[rows])
            assert described["training_rows"] == rows.sum()
            if variant.family == "orthogonal":
                expected = orthogonal(moments)
            else:
                folds = [np.isin(part, fold) for fold in folds_of(variant.parts)]
                assert sum(folds).tolist() == rows.astype(int).tolist()
                ridge = choose_ridge([Moments.of(F_A[fold], F[fold]) for fold in folds], classifier_weight=C_T)[0]
                assert described["ridge"] == ridge
                ranks = [variant.rank] if variant.rank else []
                expected = low_rank(moments, ridge, ranks)[ranks[0]] if ranks else least_squares(moments, ridge)
            torch.testing.assert_close(map_.weight, expected.weight, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(map_.bias, expected.bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("themselves", [False, True])
def test_compressed_rows_give_the_same_ridges_and_maps(themselves: bool) -> None:
    """60 rows of 80 and 70 features: all maps, and the choice of each ridge by class scores, in spaces of 60."""
    F_A, F_B = correlated(60, 80, 70)
    part = np.arange(60) % len(PARTS)
    spaces = {"A": row_space(F_A), "B": row_space(F_B)}
    assert [space.shape for space in spaces.values()] == [(80, 60), (70, 60)]
    X, Y = (F @ space.double().numpy() for F, space in zip((F_A, F_B), spaces.values(), strict=True))
    plain, compressed = (
        [SourceMoments.of(rows[part == k], {"B": others[part == k]}) for k in range(len(PARTS))]
        for rows, others in ((F_A, F_B), (X, Y))
    )
    C_B = Classifier(torch.from_numpy(np.random.default_rng(2).normal(size=(90, 70))).float(), torch.zeros(90), 1)
    wanted = [Variant("least_squares"), Variant("orthogonal"), Variant("least_squares", rank=9),
              Variant("least_squares", share=1 / 4)]  # fmt: skip
    expected = ClosedForms("A", plain).maps("B", wanted, C_B)
    rows = FewRows.of(torch.from_numpy(X), {"B": torch.from_numpy(Y)}, torch.from_numpy(part), 80)
    found = ClosedForms("A", rows if themselves else compressed, spaces).maps("B", wanted, C_B)
    for (variant, map_, described), (other, expected_map, expected_described) in zip(found, expected, strict=True):
        assert variant == other
        assert described == expected_described
        scale = float(expected_map.weight.abs().max())
        torch.testing.assert_close(map_.weight, expected_map.weight, rtol=1e-3, atol=1e-4 * scale)
        torch.testing.assert_close(map_.bias, expected_map.bias, rtol=1e-3, atol=1e-3)


def test_maps_of_a_subset_are_those_of_its_rows_and_leave_nothing_behind() -> None:
    F_A, F_B = correlated(400, 7, 5)
    part = np.arange(400) % len(PARTS)
    forms = ClosedForms("A", [SourceMoments.of(F_A[part == k], {"B": F_B[part == k]}) for k in range(len(PARTS))])
    chosen = (5, 9, 14)
    ((target, found),) = forms.subset_maps(chosen, {"B": 0.1})
    rows = np.isin(part, chosen)
    expected = least_squares(Moments.of(F_A[rows], F_B[rows]), 0.1)
    assert target == "B"
    torch.testing.assert_close(found.weight, expected.weight, rtol=1e-4, atol=1e-6)
    assert not forms.sums
    assert not forms.bases


@pytest.mark.parametrize("sizes", [(3, 3), (7, 3)])
def test_a_known_similarity_is_found_again(sizes: tuple[int, int]) -> None:
    F_A, F_B = known_pair(*sizes, isometric=True)
    assert error(F_A, F_B, orthogonal(Moments.of(F_A, F_B))) < 1e-9


def objective(X: np.ndarray, Y: np.ndarray, weight: np.ndarray, penalty: float) -> float:
    return float(((Y - X @ weight.T) ** 2).sum() + penalty * (weight**2).sum())


def alternating(X: np.ndarray, Y: np.ndarray, penalty: float, rank: int) -> float:
    """The least objective that alternating least squares over weight = P Q finds, from several starts."""
    X1, Y1 = np.vstack([X, np.sqrt(penalty) * np.eye(X.shape[1])]), np.pad(Y, ((0, X.shape[1]), (0, 0)))
    best = np.inf
    for seed in range(4):
        P = np.random.default_rng(seed).normal(size=(Y.shape[1], rank))
        for _ in range(400):
            Q = np.linalg.lstsq(X1, Y1 @ np.linalg.pinv(P).T, rcond=None)[0].T
            P = np.linalg.lstsq(X1 @ Q.T, Y1, rcond=None)[0].T
        best = min(best, objective(X, Y, P @ Q, penalty))
    return best


@pytest.mark.parametrize("sizes", [(6, 4), (4, 6)])
@pytest.mark.parametrize("ridge", [1e-3, 0.5])
def test_no_map_of_low_rank_does_better(sizes: tuple[int, int], ridge: float) -> None:
    F_A, F_B = correlated(80, *sizes)
    X, Y = F_A - F_A.mean(0), unit(F_B) - unit(F_B).mean(0)
    penalty = ridge * (X**2).sum() / sizes[0]
    errors = []
    for rank, m in low_rank(Moments.of(F_A, F_B), ridge, [1, 2, 3]).items():
        weight = m.weight.double().numpy() / mean_length(F_B)
        assert np.linalg.matrix_rank(weight, tol=1e-5 * np.linalg.norm(weight)) == rank
        errors.append(objective(X, Y, weight, penalty))
        assert errors[-1] == pytest.approx(alternating(X, Y, penalty, rank), rel=1e-6)
        np.testing.assert_allclose(applied(m, F_A).mean(0), mean_length(F_B) * unit(F_B).mean(0), rtol=1e-5)
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("sizes", [(6, 4), (4, 6), (30, 40)])
def test_full_rank_is_least_squares(sizes: tuple[int, int]) -> None:
    moments = Moments.of(*correlated(25, *sizes))
    full, found = least_squares(moments, 0.1), low_rank(moments, 0.1, [min(sizes), 99])
    for m in found.values():
        torch.testing.assert_close(m.weight, full.weight)
        torch.testing.assert_close(m.bias, full.bias)


def test_rank_of_the_rows_is_enough() -> None:
    """25 rows span 24 centred directions: rank 24 already holds all of the solution, though d is 30 and more."""
    moments = Moments.of(*correlated(25, 30, 40))
    torch.testing.assert_close(low_rank(moments, 0.1, [24])[24].weight, least_squares(moments, 0.1).weight)


def classifiers(classes: int, d_S: int, d_T: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(4)
    return (
        draw.normal(size=(classes, d_S)), draw.normal(size=classes),
        draw.normal(size=(classes, d_T)), draw.normal(size=classes),
    )  # fmt: skip


@pytest.mark.parametrize("d_T", [7, 12])
def test_targets_classifier_gives_the_sources_scores(d_T: int) -> None:
    W_S, b_S, W_T, b_T = classifiers(7, 5, d_T)
    F_S = np.random.default_rng(6).normal(size=(30, 5))
    mapped = applied(from_classifiers([(W_S, b_S)], (W_T, b_T))[0], F_S)
    np.testing.assert_allclose(mapped @ W_T.T + b_T, F_S @ W_S.T + b_S, atol=1e-5)


def test_more_classes_than_target_features_give_the_nearest_scores() -> None:
    W_S, b_S, W_T, b_T = classifiers(9, 5, 4)
    F_S = np.random.default_rng(6).normal(size=(30, 5))
    nearest = np.array([np.linalg.lstsq(W_T, W_S @ f + b_S - b_T, rcond=None)[0] for f in F_S])
    W_S, b_S, W_T, b_T = (torch.from_numpy(a).float() for a in (W_S, b_S, W_T, b_T))  # as a Classifier has them
    other = classifiers(9, 3, 4)
    found = from_classifiers([(W_S, b_S), other[:2]], (W_T, b_T))
    np.testing.assert_allclose(applied(found[0], F_S), nearest, rtol=1e-4, atol=1e-5)
    assert found[1].weight.shape == (4, 3)


def test_other_classes_are_refused() -> None:
    W_S, b_S, W_T, b_T = classifiers(7, 5, 6)
    with pytest.raises(ValueError, match=r"\(7, 5\).*\(6, 6\).*background"):
        from_classifiers([(W_S, b_S)], (W_T[1:], b_T[1:]))


def test_what_no_map_can_be_made_of_is_refused() -> None:
    moments = Moments.of(*correlated())
    with pytest.raises(ValueError, match="one row or more"):
        least_squares(Moments.empty(3, 2), 0.1)
    with pytest.raises(ValueError, match="one row or more"):
        orthogonal(Moments.empty(3, 2))
    with pytest.raises(ValueError, match=r"0 or more, got -1"):
        least_squares(moments, -1)
    with pytest.raises(ValueError, match="two folds"):
        choose_ridge([moments])
    with pytest.raises(ValueError, match=r"\(classes, 4\), got \(10, 6\)"):
        choose_ridge([moments, moments], classifier_weight=np.ones((10, 6)))
    with pytest.raises(ValueError, match=r"ranks of 1 or more, got \[2, 0\]"):
        low_rank(moments, 0.1, [2, 0])
