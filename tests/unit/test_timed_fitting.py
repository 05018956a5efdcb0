"""The fit's rows of the benchmark with small sizes: the references do the maths that they stand for."""

import pytest
import torch

from lib.benchmarks.fitting import (
    TARGETS,
    bare_loop,
    beside_a_loader,
    loaded,
    made_up_features,
    of_the_paper,
    on_the_cpu,
    several_targets,
)
from lib.benchmarks.timing import Timing

pytestmark = pytest.mark.filterwarnings("default")  # DataLoader's own, where there are fewer cores than it likes


def check(row: Timing, repeats: int) -> None:
    assert len(row.project) == len(row.reference) == repeats
    assert min(*row.project, *row.reference) > 0


def test_rows() -> None:
    X, Y = made_up_features(500, 8, 6)
    check(on_the_cpu(X, Y, 16, 5, 2), 2)
    whole, batches = beside_a_loader((X, Y), 16, 5, 2)
    check(whole, 2)
    check(batches, 2)
    paper = of_the_paper(X, Y, 16, 5, 2, compiled=False)
    check(paper, 2)
    assert "500 rows of 8 and 6 numbers" in paper.note
    several = several_targets(X, Y, 16, 5, 2)
    check(several, 2)
    assert several.reference_is == f"{TARGETS} fits, one after another"
    assert not torch.backends.cuda.matmul.allow_tf32


def test_loader_gives_rows_that_belong_together() -> None:
    X = torch.arange(50.0)[:, None]
    batches = list(loaded(X, -X, 16, 3))
    assert len(batches) == 3
    assert all(len(x) == 16 and torch.equal(x, -y) for x, y in batches)


def test_the_bare_loop_fits() -> None:
    X, _ = made_up_features(500, 8, 6)
    Y = X @ torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    for batches in (None, loaded(X, Y, 100, 300)):
        curve = bare_loop(X, Y, 100, 300, batches)()
        assert 1e-3 > curve[-1] < curve[0] / 100
