"""How mapped vectors meet the target's own: known values, what they do not change under, and a sample's order."""

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from torch.nn.functional import normalize

from lib.evaluation.principal_directions import PrincipalDirections
from lib.evaluation.retrieval import look_up, retrieval
from lib.evaluation.within_class import within_class_r2

draw = torch.Generator().manual_seed(0)
n, d = 300, 8
label = torch.arange(n) % 6
own = normalize(torch.randn(n, d, generator=draw) + 3 * torch.randn(6, d, generator=draw)[label], dim=1)
noisy = normalize(own + 0.3 * torch.randn(n, d, generator=draw), dim=1)


def test_ranks_are_those_of_a_sort() -> None:
    cosine = noisy.double() @ own.double().T
    by_sorting = [1 + int((row > row[k]).sum()) for k, row in enumerate(cosine)]
    assert look_up(noisy, own, block=64).ranks.tolist() == by_sorting
    assert look_up(own, own).ranks.tolist() == [1] * n
    assert look_up(torch.ones(4, 2), torch.ones(4, 2)).ranks.tolist() == [1] * 4  # equal vectors share the best rank
    with pytest.raises(ValueError, match="same images"):
        look_up(own, own[:5])


def test_retrieval_of_strangers_is_chance() -> None:
    strangers = normalize(torch.randn(n, d, generator=draw), dim=1)
    found = retrieval(strangers, normalize(torch.randn(n, d, generator=draw), dim=1))
    assert found["mean_rank"] == pytest.approx((n + 1) / 2, rel=0.12)
    assert found["recall_at_10"] == pytest.approx(10 / n, abs=0.04)
    ideal = {"recall_at_1": 1, "recall_at_10": 1, "mean_rank": 1, "neighbours_at_1": 1, "neighbours_at_10": 1}
    assert retrieval(own, own) == ideal | {"rows": n}
    assert found["neighbours_at_10"] == pytest.approx(10 / (n - 1), abs=0.02)


def test_neighbours_are_those_of_the_targets_own_queries() -> None:
    found = retrieval(noisy, own)
    cosine = {name: (Q.double() @ own.double().T).numpy() for name, Q in (("mapped", noisy), ("own", own))}
    near = {}
    for name, values in cosine.items():
        np.fill_diagonal(values, -2)
        near[name] = np.argsort(-values, axis=1, kind="stable")[:, :10]
    first = np.mean(near["mapped"][:, 0] == near["own"][:, 0])
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(near["mapped"], near["own"], strict=True)])
    assert found["neighbours_at_1"] == pytest.approx(first)
    assert found["neighbours_at_10"] == pytest.approx(shared)
    assert torch.equal(look_up(noisy, own, block=64).near, look_up(noisy, own).near)
    assert retrieval(own[:1], own[:1])["neighbours_at_1"] == 1


def test_within_class_r2_is_the_formula_and_zero_for_class_means() -> None:
    def about_means(vectors: torch.Tensor) -> float:
        return sum(float((vectors[label == c] - vectors[label == c].mean(0)).square().sum()) for c in range(6))

    expected = 1 - about_means(own - noisy) / about_means(own)
    assert within_class_r2(noisy, own, label) == pytest.approx(expected, rel=1e-5)
    assert within_class_r2(own, own, label) == 1
    means = torch.stack([own[label == c].mean(0) for c in range(6)])[label]
    assert within_class_r2(means, own, label) == pytest.approx(0, abs=1e-6)
    assert within_class_r2(own + torch.ones(6, d)[label], own, label) == pytest.approx(1)  # classes moved as wholes
    assert within_class_r2(own[:3], own[:3], torch.arange(3)) is None


def test_bands_of_directions_add_up_to_r2_and_know_no_rotation() -> None:
    principal = PrincipalDirections(own)
    bands = principal.bands(noisy)
    assert [(band.first, band.last) for band in bands] == [(1, 1), (2, 2), (3, 4), (5, 8)]
    assert sum(band.variance for band in bands) == pytest.approx(1)
    centred = own - own.mean(0)
    r2 = 1 - float((own - noisy).square().sum() / centred.square().sum())
    assert sum(band.variance * band.r2 for band in bands) == pytest.approx(r2, rel=1e-5)
    turn = torch.tensor(ortho_group.rvs(d, random_state=1), dtype=torch.float32)
    turned = PrincipalDirections(own @ turn).bands(noisy @ turn)
    assert [band.r2 for band in turned] == pytest.approx([band.r2 for band in bands], abs=1e-5)


def test_a_map_that_lacks_a_direction_shows_it() -> None:
    first = np.linalg.svd((own - own.mean(0)).double().numpy())[2][0]
    without = own - (own - own.mean(0)) @ torch.outer(*2 * [torch.tensor(first, dtype=torch.float32)])
    assert [round(band.r2, 4) for band in PrincipalDirections(own).bands(without)] == [0, 1, 1, 1]


def test_directions_without_variance_are_in_no_band() -> None:
    few = PrincipalDirections(own[:4])
    assert few.edges[-1][1] == 3
    assert PrincipalDirections(own[:1].expand(5, d)).edges == []
