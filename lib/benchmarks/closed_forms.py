"""How fast closed-form maps are, beside scipy's own time for the decompositions that they cannot do without."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import linalg

from lib.benchmarks.timing import Timing, by_turns, one_after_another
from lib.experiment.settings import FitSettings
from lib.experiment.variants import PARTS, Variant, curve_variants
from lib.maps.closed_forms import ClosedForms, folds_of
from lib.maps.moments import SourceMoments
from lib.networks.classifiers import Classifier
from lib.networks.devices import compute_on_cpu

CLASSES = 100


def time_closed_forms(repeats: int, size: int = 2048, rows: int = 20_000) -> list[Timing]:
    """Return two rows of all maps from one network to another, on one core as in a task: some minutes with one repeat.

    The second reference has the largest matrix products besides, which follow the decompositions. Several threads would
    wait for each other in each of many small steps. scipy's are set by OPENBLAS_NUM_THREADS.
    """
    compute_on_cpu(1)
    parts, C = made_up_sums(rows, size), made_up_classifier(size)
    wanted = [Variant("least_squares"), Variant("orthogonal"), *curve_variants(FitSettings(), size)]

    def project() -> None:
        for _ in ClosedForms("a", parts).maps("b", wanted, C):
            pass

    decompose, count = decompositions(parts, wanted)
    multiply, multiplied = products(size, wanted)
    note = (
        f"{len(wanted)} maps of {size} x {size} numbers from {rows:,} rows, with cross-validated ridges; "
        f"{count} decompositions, {multiplied} products"
    )
    return [
        Timing("closed forms", "maps/s a core", reference, *by_turns(project, work, len(wanted), repeats),
               goal=1 / 1.2, note=note)
        for reference, work in (
            ("scipy's eigh and svd of the same matrices", decompose),
            ("these, and numpy's products as many times", one_after_another(decompose, multiply)),
        )
    ]  # fmt: skip


def made_up_sums(rows: int, size: int) -> list[SourceMoments]:
    """Return the sums of each of the PARTS of made-up rows, of which b's are a's turned, with noise."""
    random = np.random.default_rng(0)
    turn = linalg.qr(random.standard_normal((size, size)))[0].astype(np.float32)
    found = []
    for share in PARTS:
        X = np.maximum(random.standard_normal((max(1, int(share * rows)), size), np.float32), 0)
        Y = X @ turn + 0.1 * random.standard_normal(X.shape, np.float32)
        found.append(SourceMoments.of(torch.from_numpy(X), {"b": torch.from_numpy(Y)}))
    return found


def made_up_classifier(size: int) -> Classifier:
    """Return b's classifier."""
    draw = torch.Generator().manual_seed(0)
    return Classifier(torch.randn(CLASSES, size, generator=draw), torch.zeros(CLASSES))


def decompositions(parts: list[SourceMoments], wanted: list[Variant]) -> tuple[Callable[[], None], int]:
    """Return a function that decomposes by scipy what these maps need, and how many decompositions that are.

    Each part of the rows, and each fit of its cross-validation, needs the eigenvectors of its covariance; all ranks
    together need those of one more matrix; a rotation needs a singular value decomposition.
    """
    forms = ClosedForms("a", parts)
    shares = shares_of(wanted)
    chosen = {tuple(range(count)) for count in shares}
    for count in shares:
        chosen |= {tuple(sorted(set(range(count)) - set(fold))) for fold in folds_of(count)}
    moments = [forms.moments("b", one) for one in sorted(chosen)]
    symmetric = [found.XX_about(found.x / found.n).numpy() for found in moments]
    if any(found.rank for found in wanted):
        symmetric.append(symmetric[-1])
    rotations = [forms.moments("b", tuple(range(len(PARTS)))).XY.numpy()] * any(
        found.family == "orthogonal" for found in wanted
    )

    def work() -> None:
        for matrix in symmetric:
            linalg.eigh(matrix, driver="evd")
        for matrix in rotations:
            linalg.svd(matrix, full_matrices=False)

    return work, len(symmetric) + len(rotations)


def products(size: int, wanted: list[Variant]) -> tuple[Callable[[], None], int]:
    """Return a function that multiplies two matrices by numpy as often as these maps need d^3, and how often that is.

    Held-out sums are turned into each fit's eigenvectors, V^T S V; each map takes V^T S_xy, and that times V.
    """
    shares = shares_of(wanted)
    number = 2 * sum(len(folds_of(count)) for count in shares) + 2 * len(shares)
    A = np.random.default_rng(0).standard_normal((size, size))

    def work() -> None:
        for _ in range(number):
            A @ A

    return work, number


def shares_of(wanted: list[Variant]) -> set[int]:
    """Return from how many parts of the rows these maps are fitted by least squares."""
    return {found.parts for found in wanted if found.family == "least_squares" and found.rank is None}
