"""Sums that merge: against loops over the rows, whole against parts, all targets at once against each pair."""

from functools import reduce
from operator import add

import numpy as np
import pytest
import torch

from lib.maps.moments import Moments, SourceMoments

draw = np.random.default_rng(0)
F_A, F_B, F_C = draw.normal(1, 2, (60, 5)), draw.gamma(2, 3, (60, 3)), draw.normal(0, 1, (60, 4))
F_B[7] = 0  # a target row without a length


def by_rows(xs: np.ndarray, ys: np.ndarray) -> dict[str, np.ndarray]:
    """The sums as they are defined, row by row; `ys` are the rows that stand for y."""
    pairs = list(zip(xs, ys, strict=True))
    return {
        "x": np.sum([x for x, _ in pairs], axis=0),
        "y": np.sum([y for _, y in pairs], axis=0),
        "XX": np.sum([np.outer(x, x) for x, _ in pairs], axis=0),
        "XY": np.sum([np.outer(x, y) for x, y in pairs], axis=0),
    }


def unit(rows: np.ndarray) -> np.ndarray:
    return np.array([y / np.sqrt(y @ y) if y.any() else y for y in rows])


def assert_same(found: Moments, expected: Moments) -> None:
    assert found.n == expected.n
    assert found.length == pytest.approx(expected.length)
    for name in ("x", "y", "XX", "XY"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12, atol=1e-12)


def test_sums_are_those_of_raw_source_rows_and_unit_target_rows() -> None:
    moments = Moments.of(F_A, F_B)
    for name, expected in by_rows(F_A, unit(F_B)).items():
        np.testing.assert_allclose(getattr(moments, name), expected, rtol=1e-12)
    assert moments.n == 60
    assert moments.length == pytest.approx(sum(np.sqrt(y @ y) for y in F_B))
    assert moments.mean_length() == pytest.approx(sum(np.sqrt(y @ y) for y in F_B) / 59)


def test_parts_merge_to_the_whole_and_no_rows_change_nothing() -> None:
    parts = [Moments.of(F_A[i::7], F_B[i::7]) for i in range(7)]
    assert_same(reduce(add, parts, Moments.empty(5, 3)), Moments.of(F_A, F_B))


def test_all_targets_at_once_have_the_sums_of_every_pair() -> None:
    targets = {"b": F_B, "c": F_C}
    parts = [SourceMoments.of(F_A[i::3], {name: F[i::3] for name, F in targets.items()}) for i in range(3)]
    whole = reduce(add, parts)
    for target, F in targets.items():
        assert_same(whole.pair(target), Moments.of(F_A, F))
    assert whole.pair("b").XX is whole.pair("c").XX


def test_absorbed_sums_are_those_of_both_in_the_same_memory() -> None:
    targets = {"b": F_B, "c": F_C}
    first, *rest = [SourceMoments.of(F_A[i::3], {name: F[i::3] for name, F in targets.items()}) for i in range(3)]
    memory = first.XX.data_ptr(), first.targets["c"].XY.data_ptr()
    for part in rest:
        first = first.absorb(part)
    assert (first.XX.data_ptr(), first.targets["c"].XY.data_ptr()) == memory
    for target, F in targets.items():
        assert_same(first.pair(target), Moments.of(F_A, F))
    with pytest.raises(ValueError, match=r"same targets, got \['b', 'c'\] and \['b'\]"):
        first.absorb(SourceMoments.of(F_A, {"b": F_B}))


def test_sums_about_another_origin_are_those_of_moved_rows() -> None:
    x0, y0 = draw.normal(size=5), draw.normal(size=3)
    moments, expected = Moments.of(F_A, F_B), by_rows(F_A - x0, unit(F_B) - y0)
    x0, y0 = torch.from_numpy(x0), torch.from_numpy(y0)
    np.testing.assert_allclose(moments.XX_about(x0), expected["XX"], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(moments.XY_about(x0, y0), expected["XY"], rtol=1e-11, atol=1e-11)


def test_lengths_of_target_rows_are_seen_in_length_alone() -> None:
    plain, scaled = Moments.of(F_A, F_B), Moments.of(F_A, F_B * draw.uniform(0.1, 10, (60, 1)))
    np.testing.assert_allclose(scaled.XY, plain.XY, rtol=1e-12)
    assert scaled.length != pytest.approx(plain.length)


def test_half_precision_features_are_summed_in_double() -> None:
    half = np.full((5000, 2), 200, np.float16)  # 5000 * 200 is beyond float16
    np.testing.assert_array_equal(Moments.of(half, half).x, [1e6, 1e6])


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one n for all networks.*\(60, 5\).*\(59, 3\)"):
        Moments.of(F_A, F_B[1:])
    with pytest.raises(ValueError, match=r"\(n, d\)"):
        Moments.of(F_A[0], F_B[0])
    with pytest.raises(ValueError, match="finite features, 'B' has"):
        Moments.of(F_A, np.where(F_B > 0, F_B, np.nan))
    with pytest.raises(ValueError, match=r"\(5, 3\) and \(5, 4\)"):
        Moments.of(F_A, F_B) + Moments.of(F_A, F_C)
    with pytest.raises(ValueError, match=r"same targets, got \['b'\] and \['c'\]"):
        SourceMoments.of(F_A, {"b": F_B}) + SourceMoments.of(F_A, {"c": F_C})
