"""What chance makes of likeness, shapes of features, and the interval of kappa: known values and invariances."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from lib.evaluation.agreement import Agreement
from lib.evaluation.cka import CrossSums
from lib.evaluation.neighbours import nearest_neighbours, neighbour_overlap
from lib.evaluation.permutations import calibrate, calibrated_cka, calibrated_neighbours, centred_kernel
from lib.evaluation.shapes import participation_ratio, procrustes_angle

draw = np.random.default_rng(0)
F = draw.normal(size=(120, 9)) + 2
G = F[:, :6] + draw.normal(size=(120, 6))
STRANGER = draw.normal(size=(120, 7))


def test_kernels_give_unbiased_cka() -> None:
    found = calibrated_cka(centred_kernel(F), centred_kernel(G), 19, seed=0)
    assert found is not None
    assert found["value"] == pytest.approx(CrossSums.of({"a": F, "b": G}).unbiased_cka("a", "b"))
    assert found["p"] == pytest.approx(1 / 20)
    assert 0 < found["calibrated"] < found["value"]
    assert calibrated_cka(centred_kernel(F), centred_kernel(np.ones((120, 3))), 19, seed=0) is None
    with pytest.raises(ValueError, match="four rows"):
        centred_kernel(F[:3])


def test_the_same_features_are_as_like_as_can_be() -> None:
    turned = 3 * F @ ortho_group.rvs(9, random_state=1) - 4
    found = calibrated_cka(centred_kernel(F), centred_kernel(turned), 99, seed=0)
    assert found is not None
    assert (found["value"], found["calibrated"], found["p"]) == pytest.approx((1, 1, 0.01))
    near = nearest_neighbours(F, 5)
    shared = calibrated_neighbours(near, near, 99, seed=0)
    assert (shared["value"], shared["calibrated"], shared["p"]) == (1, 1, 0.01)


def test_permuting_images_is_computing_on_permuted_features() -> None:
    """The renamed neighbours against neighbours of permuted features, found anew."""
    near, other = nearest_neighbours(F, 5), nearest_neighbours(G, 5)
    found = calibrated_neighbours(near, other, 19, seed=4)
    random = np.random.default_rng(4)
    by_chance = []
    for _ in range(19):
        order = random.permutation(120)
        shuffled = np.empty_like(G)
        shuffled[order] = G  # image order[i] has the features of i
        by_chance.append(float(neighbour_overlap(near, nearest_neighbours(shuffled, 5)).mean()))
    assert found == pytest.approx(calibrate(float(neighbour_overlap(near, other).mean()), by_chance, 120))


def test_strangers_are_rarely_called_alike() -> None:
    """Type-I error of the permutation test at 5 %, over 200 pairs of strangers."""
    random = np.random.default_rng(1)
    small = 0
    for k in range(200):
        found = calibrated_cka(*(centred_kernel(random.normal(size=(30, 40))) for _ in "ab"), 39, seed=k)
        assert found is not None
        small += found["p"] <= 0.05
    assert small <= 18, "5 % of 200 is 10; more than 18 come with a probability below 1 %"


def test_calibration_is_the_formula() -> None:
    assert calibrate(0.5, [0.1] * 18 + [0.3], 7) == {
        "value": 0.5, "p": 0.05, "threshold": 0.3, "calibrated": pytest.approx(0.2 / 0.7), "rows": 7,
    }  # fmt: skip
    assert calibrate(0.1, [0.1] * 18 + [0.3], 7)["p"] == 1
    assert calibrate(0.2, [0.1] * 17 + [0.3] * 2, 7)["calibrated"] == 0


def test_procrustes_angle_knows_rotations_and_is_the_best_rotations() -> None:
    turn = ortho_group.rvs(9, random_state=1)
    sums = CrossSums.of({"a": F, "b": 3 * F @ turn - 4, "c": G, "d": np.ones((120, 2))})
    assert procrustes_angle(sums, "a", "b") == pytest.approx(0, abs=1e-6)
    assert procrustes_angle(sums, "a", "c") == pytest.approx(procrustes_angle(sums, "b", "c"))
    assert procrustes_angle(sums, "c", "a") == pytest.approx(procrustes_angle(sums, "a", "c"), rel=1e-12)
    assert procrustes_angle(sums, "a", "d") is None
    X, Y = (np.pad(Z - Z.mean(0), ((0, 0), (0, 9 - Z.shape[1]))) for Z in (F, G))
    U, _, V = np.linalg.svd(X.T @ Y)
    cosine = np.vdot(X @ U @ V, Y) / np.linalg.norm(X) / np.linalg.norm(Y)
    assert procrustes_angle(sums, "a", "c") == pytest.approx(np.arccos(cosine))


def test_participation_ratio_counts_directions() -> None:
    white = np.linalg.qr(draw.normal(size=(120, 6)) - 0)[0]
    white -= white.mean(0)
    white = np.linalg.qr(white)[0]
    sums = CrossSums.of({"six": white, "one": np.outer(white[:, 0], [1, 2, 3]), "none": np.ones((120, 2)), "F": F})
    assert participation_ratio(sums, "six") == pytest.approx(6)
    assert participation_ratio(sums, "one") == pytest.approx(1)
    assert participation_ratio(sums, "none") == pytest.approx(0, abs=1e-9)
    assert 1 < participation_ratio(sums, "F") < 9


@pytest.mark.parametrize("agreeing", [0.3, 0.8])
def test_kappas_interval_covers(agreeing: float) -> None:
    """Coverage over 1,000 draws of 400 images whose true kappa is known from 200,000."""
    random = np.random.default_rng(2)

    def judged(n: int) -> Agreement:
        label, right = np.zeros(n, int), random.random(n) < 0.7
        other = np.where(random.random(n) < agreeing, right, random.random(n) < 0.6)
        return Agreement.count(label, np.where(right, 0, 1), np.where(other, 0, 1))

    true = judged(200_000).kappa
    assert true is not None
    intervals = [judged(400).kappa_interval for _ in range(1000)]
    covered = sum(ends is not None and ends[0] <= true <= ends[1] for ends in intervals)
    assert 930 <= covered <= 970
