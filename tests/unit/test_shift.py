"""Differences of losses on two sets, with intervals that hold; correlation over networks' directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from lib.evaluation.losses import Pairing
from lib.evaluation.shift import add_shifts, correlate, paired_variance, shift_of


def counts(fixed: int, broken: int, total: int) -> Any:
    return {"fixed": fixed, "broken": broken, "total": total, "loss": 100 * (broken - fixed) / total}


def test_the_same_images_have_no_variance_and_other_images_add_theirs() -> None:
    random = np.random.default_rng(0)
    ids = np.array([f"i{k}" for k in range(400)], object)
    d, e = random.integers(-1, 2, (2, 400))
    assert paired_variance((ids, d), (ids[::-1].copy(), d[::-1])) == pytest.approx(0, abs=1e-12)
    apart = paired_variance((ids, d), (np.array([f"j{k}" for k in range(400)], object), e))
    assert apart == pytest.approx(1e4 * (d.var() + e.var()) / 400)
    paired = paired_variance((ids, d), (ids, e))
    assert paired == pytest.approx(1e4 * (d - e).var() / 400), "the variance of the mean of the differences"
    half = paired_variance((ids, d), (ids[:200], e[:200]))
    assert half != pytest.approx(1e4 * (d.var() / 400 + e[:200].var() / 200)), "those that are in both count as such"


def test_an_independent_difference_has_the_sum_of_both_variances() -> None:
    one, other = counts(40, 90, 1000), counts(30, 20, 500)
    found = shift_of(one, other, 2)
    assert found["difference"] == pytest.approx(5 - (-2))
    assert found["independent"]
    widths = [np.subtract(*Pairing(0, row["fixed"], row["broken"], row["total"] - row["fixed"] - row["broken"])
                          .interval()[::-1]) for row in (one, other)]  # fmt: skip
    assert np.subtract(*found["difference_ci95"][::-1]) == pytest.approx(np.hypot(*widths))
    assert found["difference_ci95_all"][0] < found["difference_ci95"][0]


def test_intervals_hold_in_95_percent_and_tests_are_wrong_in_5() -> None:
    random = np.random.default_rng(1)
    held, wrong, runs = 0, 0, 1500
    for _ in range(runs):
        draws = [random.multinomial(total, [0.05, 0.09, 0.86]) for total in (1000, 400)]
        one, other = (counts(int(fixed), int(broken), int(sum(d))) for d in draws for fixed, broken in [d[:2]])
        found = shift_of(one, other, 1)
        held += found["difference_ci95"][0] <= 0 <= found["difference_ci95"][1]
        wrong += found["p_value"] < 0.05
    assert held / runs == pytest.approx(0.95, abs=0.02)
    assert wrong / runs == pytest.approx(0.05, abs=0.02)


def test_all_directions_are_corrected_at_once() -> None:
    rows: list[Any] = [
        counts(0, 40, 500) | {"source": "a", "target": "b"},
        counts(5, 5, 500) | {"source": "b", "target": "a"},
    ]
    on_val: Any = {("a", "b"): counts(5, 5, 500), ("b", "a"): counts(5, 5, 500)}
    add_shifts(rows, on_val)
    first = rows[0]["shift"]
    assert first["p_holm"] == pytest.approx(2 * first["p_value"])
    assert rows[1]["shift"]["p_holm"] == 1


def losses(networks: list[str], give: np.ndarray, take: np.ndarray, noise: np.ndarray) -> dict[tuple[str, str], float]:
    return {
        (a, b): float(give[i] + take[k] + noise[i, k])
        for i, a in enumerate(networks)
        for k, b in enumerate(networks)
        if i != k
    }


def test_correlation_is_that_of_all_directions_and_its_p_that_of_permuted_networks() -> None:
    names = ["a", "b", "c", "d", "e"]
    random = np.random.default_rng(2)
    give, take = random.standard_normal((2, 5))
    x, y = (losses(names, give, take, 0.1 * random.standard_normal((5, 5))) for _ in range(2))
    found = correlate(names, x, y, 0)
    assert found is not None
    pairs = list(x)
    assert found["pearson"] == pytest.approx(stats.pearsonr([x[p] for p in pairs], [y[p] for p in pairs]).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr([x[p] for p in pairs], [y[p] for p in pairs]).statistic)
    assert found["directions"] == 20
    assert found["p"] == pytest.approx(1 / 120), "no other order of 5 networks comes as near"
    assert correlate(["a", "b"], {("a", "b"): 1, ("b", "a"): 2}, {("a", "b"): 1, ("b", "a"): 2}, 0) is None
    assert correlate(names, dict.fromkeys(x, 1.0), y, 0) is None, "all losses are equal"


def test_permuted_networks_tell_apart_what_directions_that_share_networks_do_not() -> None:
    """Losses by network alone, unrelated on both sides: p below 5 % in about 5 %, where 30 directions taken as
    independent would find far more.
    """
    names, random = [f"n{k}" for k in range(6)], np.random.default_rng(3)
    ours, naive, runs = 0, 0, 60
    for _ in range(runs):
        x, y = (losses(names, *random.standard_normal((2, 6)), 0.1 * random.standard_normal((6, 6))) for _ in range(2))
        found = correlate(names, x, y, 0)
        assert found is not None
        ours += found["p"] < 0.05
        naive += stats.pearsonr(list(x.values()), list(y.values()), alternative="greater").pvalue < 0.05
    assert ours / runs < 0.15 < naive / runs
