"""Classifiers fitted to labels on a network's own features: ridge regression from sums, and logistic regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lib.experiment.variants import PARTS, Variant
from lib.maps.closed_forms import ClosedForms, folds_of
from lib.maps.moments import Features, SourceMoments, TargetSums, float64_rows
from lib.networks.classifiers import Classifier

LABELS = "labels"  # what stands in a target's place
PENALTIES = tuple(10.0**k for k in range(-6, 1))


def label_moments(F: Features, label: torch.Tensor, classes: int, device: torch.device | str = "cpu") -> SourceMoments:
    """Return the sums over features (n, d) and labels (n,) of which ridge probes are made.

    The target is the one-hot vector of the label, which has unit length, so that these are lib.maps.moments' sums:
    sum x y^T has for each class the sum of its features. Raises ValueError if a label is none of the classes.
    """
    X = float64_rows(F, device)
    label = label.to(device, torch.int64)
    if len(X) != len(label) or (len(label) and not 0 <= int(label.min()) <= int(label.max()) < classes):
        raise ValueError(f"expected {len(X)} labels from 0 to {classes - 1}, got {label.tolist()[:10]}...")
    by_class = torch.zeros(classes, X.shape[1], dtype=torch.float64, device=device).index_add_(0, label, X)
    counts = torch.bincount(label, minlength=classes).double()
    n = len(X)
    return SourceMoments(n, X.sum(0), X.T @ X, {LABELS: TargetSums(float(n), n, counts, by_class.T.contiguous())})


def ridge_probe(
    parts: Sequence[SourceMoments], spaces: Mapping[str, torch.Tensor] | None = None
) -> tuple[Classifier, dict[str, Any]]:
    """Return C by ridge regression to one-hot targets, and what its manifest says of it.

    `parts` are label_moments of each of the PARTS of the training rows, of which cross-validation makes its folds.
    `spaces` may have the "features" space to which rows were compressed, as ClosedForms says.
    """
    forms = ClosedForms("features", parts, spaces)
    _, map_, described = next(iter(forms.maps(LABELS, [Variant("least_squares")], None)))
    return Classifier(map_.weight.cpu(), map_.bias.cpu()), {"kind": "ridge", **described}


def logistic_probe(
    F: torch.Tensor, label: torch.Tensor, part: torch.Tensor, classes: int, iterations: int
) -> tuple[Classifier, dict[str, Any]]:
    """Return C by multinomial logistic regression, and what its manifest says of it.

    It minimises the mean cross-entropy + penalty / 2 |W|^2 for features (n, d) that are first brought to mean 0 and
    variance 1; b is not penalised. `part` (n,) is each row's place among the PARTS, of which cross-validation makes its
    folds; it takes the penalty with the least cross-entropy of held-out rows.
    """
    mean, deviation = F.mean(0), F.std(0)
    deviation = torch.where(deviation > 0, deviation, 1)
    X = (F - mean) / deviation
    losses = dict.fromkeys(PENALTIES, 0.0)
    for fold in folds_of(len(PARTS)):
        out = torch.isin(part, torch.tensor(fold, device=part.device))
        if not out.any() or out.all():
            continue
        start = torch.zeros(classes, X.shape[1] + 1, dtype=X.dtype, device=X.device)
        for penalty in sorted(PENALTIES, reverse=True):  # each begins where the one before ended
            start = _minimise(X[~out], label[~out], start, penalty, iterations)
            scores = X[out] @ start[:, :-1].T + start[:, -1]
            losses[penalty] += float(torch.nn.functional.cross_entropy(scores, label[out], reduction="sum"))
    best = min(losses, key=lambda penalty: losses[penalty])
    found = _minimise(X, label, torch.zeros(classes, X.shape[1] + 1, dtype=X.dtype, device=X.device), best, iterations)
    weight = found[:, :-1] / deviation
    bias = found[:, -1] - weight @ mean
    described = {"kind": "logistic", "training_rows": len(F), "penalty": best}
    return Classifier(weight.float().cpu().contiguous(), bias.float().cpu().contiguous()), described


def _minimise(
    X: torch.Tensor, label: torch.Tensor, start: torch.Tensor, penalty: float, iterations: int
) -> torch.Tensor:
    """Return weight and bias (classes, d + 1) at the objective's minimum, by L-BFGS from `start`."""
    numbers = start.clone().requires_grad_()
    descent = torch.optim.LBFGS([numbers], max_iter=iterations, line_search_fn="strong_wolfe")

    def objective() -> torch.Tensor:
        descent.zero_grad()
        scores = X @ numbers[:, :-1].T + numbers[:, -1]
        value = torch.nn.functional.cross_entropy(scores, label) + penalty / 2 * numbers[:, :-1].square().sum()
        value.backward()
        return value

    descent.step(objective)
    return numbers.detach()
