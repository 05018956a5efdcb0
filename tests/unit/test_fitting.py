"""The paper's error and fit, against truths: a known map is found again, a fit goes on exactly where it stopped."""

import io
import subprocess
import sys
from pathlib import Path

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from torch.nn import functional

from lib.experiment.settings import FitSettings
from lib.maps.adam import AdamFits
from lib.maps.affine import AffineMap
from lib.maps.batches import ResidentRows, Share
from lib.maps.error import error_and_slope, unit_distance

vectors = arrays.arrays(np.float64, (5, 3), elements=st.floats(-100, 100).filter(lambda x: abs(x) > 1e-3))


@limits(deadline=None)  # of other processes on this machine, not of this code
@given(vectors, vectors, st.floats(0.1, 10))
def test_error_is_two_minus_two_cosines_and_knows_no_length(x: np.ndarray, y: np.ndarray, scale: float) -> None:
    X, Y = torch.from_numpy(x), torch.from_numpy(y)
    error = unit_distance(X, Y)
    torch.testing.assert_close(error, 2 - 2 * torch.cosine_similarity(X, Y), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(error, unit_distance(X, scale * Y), atol=1e-9, rtol=1e-9)
    assert ((error >= 0) & (error <= 4 + 1e-12)).all()


def test_slope_is_autograds() -> None:
    draw = torch.Generator().manual_seed(0)
    predicted, true = torch.randn(2, 7, 5, generator=draw, dtype=torch.float64)
    true[2] = 0
    true[3] = 2 * predicted[3]  # E is 0 there
    predicted.requires_grad_()
    expected = unit_distance(true, predicted).sum() / 20
    (expected_slope,) = torch.autograd.grad(expected, predicted)
    error, slope = error_and_slope(predicted.detach(), functional.normalize(true, dim=1), 20)
    torch.testing.assert_close(error, expected.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(slope, expected_slope, rtol=0, atol=1e-14)
    assert slope.abs().max() > 0.01


def known_pair(n: int = 2000) -> tuple[torch.Tensor, torch.Tensor, AffineMap]:
    draw = torch.Generator().manual_seed(1)
    X = torch.rand(n, 6, generator=draw)
    true = AffineMap(torch.randn(4, 6, generator=draw), torch.randn(4, generator=draw))
    return X, true(X), true


def fit_of(X: torch.Tensor, Y: torch.Tensor, settings: FitSettings, seed: int) -> AdamFits:
    return AdamFits(ResidentRows(X, [Y], seed), X.shape[1], [Y.shape[1]], settings, seed)


def test_a_known_map_is_found_again_up_to_the_length_that_e_leaves_open() -> None:
    X, Y, true = known_pair()
    fitting = fit_of(X, Y, FitSettings(batch_size=256, decay=1e-3), seed=0)
    for _ in range(2500):
        fitting.step()
    held_out = torch.rand(500, 6, generator=torch.Generator().manual_seed(9))
    assert fitting.curves()[0][-1] < 1e-4 < fitting.curves()[0][0]
    assert float(unit_distance(true(held_out), fitting.maps()[0](held_out)).mean()) < 1e-4


def test_first_step_is_adams_as_kingma_and_ba_write_it() -> None:
    """The first Adam step moves each parameter by the learning rate, against the sign of its gradient."""
    X, Y, _ = known_pair(300)
    fitting = fit_of(X, Y, FitSettings(batch_size=64), seed=3)
    before = fitting.maps()[0].weight
    fitting.step()
    moved = (fitting.maps()[0].weight - before).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1), rtol=1e-3, atol=1e-4)


def test_learning_rate_decays_every_iteration() -> None:
    X, Y, _ = known_pair(300)
    fitting = fit_of(X, Y, FitSettings(batch_size=8, decay=0.5), seed=3)
    for _ in range(3):
        fitting.step()
    assert float(fitting.rate) == pytest.approx(0.1 * 0.25)


def test_steps_are_those_of_torchs_optimizer() -> None:
    X, Y, _ = known_pair(300)
    fitting = fit_of(X, Y, FitSettings(batch_size=32, decay=1e-2, beta1=0.8, beta2=0.95, epsilon=0.1), seed=3)
    (stack,) = fitting.stacks
    parameters = [parameter.clone() for parameter in stack.parameters]
    optimizer = torch.optim.Adam(parameters, lr=fitting.rate, betas=(0.8, 0.95), eps=0.1, fused=True)
    for _ in range(5):
        fitting.step()
        for parameter, slope in zip(parameters, stack.slopes, strict=True):
            parameter.grad = slope
        optimizer.step()
        assert all(map(torch.equal, stack.parameters, parameters))


def test_a_fit_does_not_import_pytorchs_compiler() -> None:
    """It takes each worker more than a second."""
    program = """
import sys
import torch
from lib.experiment.settings import FitSettings
from lib.maps.adam import AdamFits
from lib.maps.batches import ResidentRows
rows = ResidentRows(torch.ones(4, 3), [torch.ones(4, 2)], 0)
AdamFits(rows, 3, [2], FitSettings(batch_size=2), 0).step()
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_restored_fit_ends_equal_to_an_undisturbed_one() -> None:
    X, Y, _ = known_pair(300)
    whole = fit_of(X, Y, FitSettings(batch_size=32, decay=1e-2), seed=5)
    for _ in range(30):
        whole.step()
    first = fit_of(X, Y, FitSettings(batch_size=32, decay=1e-2), seed=5)
    for _ in range(12):
        first.step()
    file = io.BytesIO()
    torch.save(first.states(), file)
    file.seek(0)
    second = fit_of(X, Y, FitSettings(batch_size=32, decay=1e-2), seed=5)
    second.restore(torch.load(file, weights_only=True))
    assert second.iteration == 12
    for _ in range(18):
        second.step()
    assert torch.equal(second.maps()[0].weight, whole.maps()[0].weight)
    np.testing.assert_array_equal(second.curves()[0], whole.curves()[0])


def plain_loop(X: torch.Tensor, Y: torch.Tensor, settings: FitSettings, seed: int) -> tuple[torch.Tensor, list[float]]:
    """The paper's fit as a few lines of PyTorch: the weights and the errors."""
    draw = torch.Generator().manual_seed(seed)
    size = (Y.shape[1], X.shape[1])
    weight = torch.rand(*size, generator=torch.Generator().manual_seed(seed)).mul(2).sub(1).mul((6 / sum(size)) ** 0.5)
    weight, bias = weight.requires_grad_(), torch.zeros(size[0], requires_grad=True)
    adam = torch.optim.Adam([weight, bias], lr=0.1)
    errors = []
    for iteration in range(settings.iterations):
        adam.param_groups[0]["lr"] = 0.1 * (1 - settings.decay) ** iteration
        rows = torch.randint(len(X), (settings.batch_size,), generator=draw)
        x, y = torch.nn.functional.linear(X[rows], weight, bias), Y[rows]
        difference = x / x.norm(dim=1, keepdim=True) - y / y.norm(dim=1, keepdim=True)
        loss = (difference**2).sum(1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        errors.append(loss.item())
    return weight.detach(), errors


def test_a_fit_is_a_plain_loop() -> None:
    X, Y, _ = known_pair(300)
    settings = FitSettings(batch_size=32, iterations=50, decay=1e-2)
    fitting = fit_of(X, Y, settings, seed=5)
    for _ in range(50):
        fitting.step()
    weight, errors = plain_loop(X, Y, settings, seed=5)
    torch.testing.assert_close(fitting.maps()[0].weight, weight, rtol=0, atol=1e-5 * float(weight.abs().max()))
    np.testing.assert_allclose(fitting.curves()[0], errors, rtol=1e-5)


def fit_in_group(rank: int, folder: str, settings: FitSettings) -> None:
    """One of several processes that fit a map together."""
    store = torch.distributed.FileStore(f"{folder}/store", settings.workers)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=settings.workers)
    X, Y, _ = known_pair(300)
    rows = ResidentRows(X, [Y], seed=5, share=Share(rank, settings.workers))
    fitting = AdamFits(rows, X.shape[1], [Y.shape[1]], settings, seed=5)
    for _ in range(settings.iterations):
        fitting.step()
    torch.save({"weight": fitting.maps()[0].weight, "errors": fitting.curves()[0].tolist()}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_workers_that_share_each_batch_fit_the_map_of_one(tmp_path: Path) -> None:
    """Two workers with batches of 33: their shares differ in size."""
    settings = FitSettings(batch_size=33, iterations=50, workers=2)
    torch.multiprocessing.spawn(fit_in_group, (str(tmp_path), settings), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    X, Y, _ = known_pair(300)
    weight, errors = plain_loop(X, Y, settings, seed=5)
    torch.testing.assert_close(found[0]["weight"], weight, rtol=0, atol=1e-5 * float(weight.abs().max()))
    np.testing.assert_allclose(found[0]["errors"], errors, rtol=1e-5)
    for other in found[1:]:
        assert torch.equal(other["weight"], found[0]["weight"])
        assert other["errors"] == found[0]["errors"]


def test_workers_without_the_others_are_refused() -> None:
    X, Y, _ = known_pair(10)
    with pytest.raises(ValueError, match=r"expected 2 processes in torch\.distributed's group, there are 1"):
        fit_of(X, Y, FitSettings(workers=2), seed=0)


def test_a_step_works_in_the_same_memory_as_the_one_before() -> None:
    """What a CUDA graph replays."""
    X, Y, _ = known_pair(300)
    fitting = fit_of(X, Y, FitSettings(batch_size=32), seed=5)

    def places() -> list[int]:
        (stack,) = fitting.stacks
        x, targets = fitting.rows.draw(32)
        tensors = [
            *stack.tensors,
            *stack.steps,
            stack.message,
            fitting.errors,
            fitting.place,
            fitting.rate,
            x,
            *targets,
        ]
        return [tensor.data_ptr() for tensor in tensors]

    fitting.step()
    before = places()
    fitting.step()
    assert places() == before


def test_no_step_after_the_last() -> None:
    X, Y, _ = known_pair(10)
    fitting = fit_of(X, Y, FitSettings(batch_size=8, iterations=1), seed=0)
    fitting.step()
    with pytest.raises(ValueError, match="all 1 iterations"):
        fitting.step()


@pytest.mark.filterwarnings("default")  # torch.compile's own warnings
def test_torch_can_compile_the_slope_as_a_whole() -> None:
    predicted, unit = functional.normalize(torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0)), dim=2)
    compiled = torch.compile(error_and_slope, backend="aot_eager", fullgraph=True)
    for found, expected in zip(compiled(predicted, unit, 20), error_and_slope(predicted, unit, 20), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("compiled", [False, True])
def test_a_captured_fit_equals_a_plain_one_and_goes_on_equally(compiled: bool) -> None:
    X, Y, _ = known_pair(3000)
    settings = FitSettings(batch_size=64, decay=1e-2, compile=compiled)
    plain, captured, restored = (fit_of(X.cuda(), Y.cuda(), settings, seed=5) for _ in range(3))
    plain.WARM_UP = 1000
    for _ in range(20):
        plain.step()
        captured.step()
    assert plain.graph is None
    assert captured.graph is not None
    file = io.BytesIO()
    torch.save(captured.states(), file)
    file.seek(0)
    restored.restore(torch.load(file, weights_only=True, map_location="cpu"))
    for _ in range(20):
        plain.step()
        captured.step()
        restored.step()
    for other in (captured, restored):
        assert torch.equal(other.maps()[0].weight, plain.maps()[0].weight)
        np.testing.assert_array_equal(other.curves()[0], plain.curves()[0])


@pytest.mark.parametrize("dimensions", [(6, 4, 5), (129, 77, 200), (64, 64, 64)])
def test_a_map_is_the_same_whichever_others_are_fitted_beside_it(dimensions: tuple[int, ...]) -> None:
    """Bit by bit on a CPU, also after it was restored beside others than before."""
    draw = torch.Generator().manual_seed(2)
    X, *targets = (torch.rand(300, d, generator=draw) for d in dimensions)
    settings = FitSettings(batch_size=32, iterations=20, decay=1e-2)
    together = AdamFits(ResidentRows(X, targets, 5), X.shape[1], [Y.shape[1] for Y in targets], settings, 5)
    for _ in range(12):
        together.step()
    states = together.states()
    for place, Y in enumerate(targets):
        alone = fit_of(X, Y, settings, seed=5)
        restored = fit_of(X, Y, settings, seed=9)
        restored.restore([states[place]])
        for _ in range(12):
            alone.step()
        assert torch.equal(alone.maps()[0].weight, together.maps()[place].weight)
        for _ in range(8):
            alone.step()
            restored.step()
        assert torch.equal(alone.maps()[0].weight, restored.maps()[0].weight)
        assert torch.equal(alone.maps()[0].bias, restored.maps()[0].bias)
        np.testing.assert_array_equal(alone.curves(), restored.curves())


def test_states_of_other_iterations_are_refused() -> None:
    X, Y, _ = known_pair(50)
    settings = FitSettings(batch_size=8, iterations=3)
    fits = AdamFits(ResidentRows(X, [Y, Y], 0), 6, [4, 4], settings, 0)
    fits.step()
    early = fits.states()
    fits.step()
    with pytest.raises(ValueError, match=r"expected 2 states after one iteration, got \[1, 2\]"):
        fits.restore([early[0], fits.states()[1]])
