"""Classifiers fitted with labels: from sums they are what one finds from all rows; sums merge."""

from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from lib.experiment.variants import PARTS
from lib.maps.moments import SourceMoments
from lib.maps.probes import PENALTIES, label_moments, logistic_probe, ridge_probe
from lib.maps.row_space import row_space


def drawn(
    n: int = 400, d: int = 12, classes: int = 5, apart: float = 2.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features around a centre for each class, labels, and each row's part."""
    draw = torch.Generator().manual_seed(0)
    label = torch.randint(classes, (n,), generator=draw)
    centres = apart * torch.randn(classes, d, generator=draw)
    F = centres[label] + torch.randn(n, d, generator=draw)
    part = torch.multinomial(torch.tensor(PARTS), n, replacement=True, generator=draw)
    return F.double(), label, part


def parts_of(F: torch.Tensor, label: torch.Tensor, part: torch.Tensor, classes: int) -> list[SourceMoments]:
    return [label_moments(F[part == k], label[part == k], classes) for k in range(len(PARTS))]


def test_a_ridge_probe_is_ridge_regression_to_one_hot_targets() -> None:
    F, label, part = drawn()
    C, described = ridge_probe(parts_of(F, label, part, 5))
    X, Y = F - F.mean(0), torch.nn.functional.one_hot(label, 5).double()
    S = X.T @ X
    penalty = described["ridge"] * torch.trace(S) / F.shape[1]
    W = torch.linalg.solve(S + penalty * torch.eye(12), X.T @ (Y - Y.mean(0))).T
    torch.testing.assert_close(C.weight, W.float(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(C.bias, (Y.mean(0) - W @ F.mean(0)).float(), rtol=1e-4, atol=1e-6)
    assert (C(F.float()).argmax(1) == label).double().mean() > 0.9
    assert described["training_rows"] == 400


def test_sums_of_parts_are_the_sums_of_all_rows() -> None:
    F, label, part = drawn()
    merged, whole = reduce(add, parts_of(F, label, part, 5)), label_moments(F, label, 5)
    torch.testing.assert_close(merged.XX, whole.XX)
    torch.testing.assert_close(merged.targets["labels"].XY, F.T @ torch.nn.functional.one_hot(label, 5).double())
    torch.testing.assert_close(merged.targets["labels"].y, torch.bincount(label).double())


def test_rows_fewer_than_features_are_compressed_without_another_answer() -> None:
    F, label, part = drawn(60, 100)
    Q = row_space(F)
    C, described = ridge_probe(parts_of(F, label, part, 5))
    inside, as_well = ridge_probe(parts_of(F @ Q.double(), label, part, 5), {"features": Q})
    assert described["ridge"] == as_well["ridge"]
    torch.testing.assert_close(C(F.float()), inside(F.float()), rtol=1e-3, atol=1e-4)


def test_labels_beyond_the_classes_are_refused() -> None:
    F, label, _ = drawn()
    with pytest.raises(ValueError, match="labels from 0 to 3"):
        label_moments(F, label, 4)


def test_a_logistic_probe_is_at_the_objectives_minimum() -> None:
    F, label, part = drawn(150, 6, 3, 0.7)
    C, described = logistic_probe(F, label, part, 3, 500)
    assert described["penalty"] in PENALTIES
    X = ((F - F.mean(0)) / F.std(0)).numpy()

    def objective(numbers: np.ndarray) -> float:
        W, b = numbers[:18].reshape(3, 6), numbers[18:]
        scores = torch.from_numpy(X @ W.T + b)
        return float(torch.nn.functional.cross_entropy(scores, label)) + described["penalty"] / 2 * (W**2).sum()

    best = minimize(objective, np.zeros(21), method="L-BFGS-B", options={"maxiter": 2000, "maxfun": 10**6})
    W = C.weight.double() * F.std(0)
    b = C.bias.double() + C.weight.double() @ F.mean(0)
    assert objective(np.concatenate([W.numpy().ravel(), b.numpy()])) <= best.fun + 1e-5
