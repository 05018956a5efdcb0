"""How fast a fit is, beside a bare loop, a DataLoader, and the time that its products and its memory take on a GPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from statistics import median

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from lib.benchmarks.timing import Timing, by_turns
from lib.experiment.settings import FitSettings
from lib.maps.adam import AdamFits
from lib.maps.batches import ResidentRows
from lib.networks.devices import best_device

PAPER = (1_280_000, 1536, 2048)  # training rows, d_I, d_R
TARGETS, SOME = 8, 100_000  # targets of one source, and their rows
PAPER_BATCH = 2048  # and what fit.batch_size is, where nobody sets it


def time_fits(repeats: int) -> list[Timing]:
    """Return the benchmark's rows: a minute on two CPU cores with five repeats.

    On a GPU they include the paper's fit.
    """
    small, large = made_up_features(20_000, 64, 48), made_up_features(20_000, 1280, 1280)
    rows = [on_the_cpu(*large, 256, 20, repeats), *beside_a_loader(small, PAPER_BATCH, 30, repeats)]
    rows.extend(beside_a_loader(large, PAPER_BATCH, 5, repeats, goal=None))
    if best_device().type == "cuda":
        on_gpu = made_up_features(*PAPER, device="cuda")
        rows.extend(beside_a_loader(on_gpu, PAPER_BATCH, 50, repeats))
        compiles = importlib.util.find_spec("triton") is not None
        rows.extend(
            of_the_paper(*on_gpu, PAPER_BATCH, 2000, repeats, compiled) for compiled in sorted({False, compiles})
        )
        rows.append(several_targets(on_gpu[0][:SOME], on_gpu[1][:SOME], PAPER_BATCH, 200, repeats))
    return rows


def made_up_features(n: int, d_A: int, d_B: int, device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Return made-up features (n, d_A) and (n, d_B). None is negative, as most networks' features are."""
    draw = torch.Generator(device).manual_seed(0)
    return torch.rand(n, d_A, generator=draw, device=device), torch.rand(n, d_B, generator=draw, device=device)


def steps(fitting: AdamFits, count: int) -> Callable[[], None]:
    """Return a function that does `count` steps of a fit."""

    def run() -> None:
        for _ in range(count):
            fitting.step()
        wait(fitting.errors)

    return run


def wait(tensor: torch.Tensor) -> None:
    """Wait until the tensor's device has done all its work."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)


def fit_of(X: torch.Tensor, Y: torch.Tensor, settings: FitSettings) -> AdamFits:
    """Return a fit of these features."""
    return AdamFits(ResidentRows(X, [Y], 0), X.shape[1], [Y.shape[1]], settings, 0)


def bare_loop(
    X: torch.Tensor, Y: torch.Tensor, batch: int, count: int, batches: DataLoader | None = None
) -> Callable[[], torch.Tensor]:
    """Return a function with the same maths in as few lines of PyTorch as it takes.

    It uses autograd, fused Adam, and tensors made beforehand. Rows are drawn on the device, or come from `batches`. The
    function returns E of each batch.
    """
    device = X.device
    weight = torch.rand(Y.shape[1], X.shape[1], device=device).mul_(0.1).requires_grad_()
    bias = torch.zeros(Y.shape[1], device=device, requires_grad=True)
    adam = torch.optim.Adam([weight, bias], fused=True, lr=0.1, betas=(0.9, 0.999), eps=1e-8)
    x, y = X.new_empty(batch, X.shape[1]), Y.new_empty(batch, Y.shape[1])
    rows = torch.empty(batch, dtype=torch.int64, device=device)
    errors = torch.empty(count, device=device)

    def run() -> torch.Tensor:
        stream = None if batches is None else iter(batches)
        for iteration in range(count):
            adam.param_groups[0]["lr"] = 0.1 * (1 - 1e-5) ** iteration
            if stream is None:
                torch.randint(len(X), (batch,), out=rows)
                torch.index_select(X, 0, rows, out=x)
                torch.index_select(Y, 0, rows, out=y)
            else:
                for target, loaded in zip((x, y), next(stream), strict=True):
                    target.copy_(loaded)
            adam.zero_grad()
            mapped = functional.normalize(functional.linear(x, weight, bias), dim=1)
            error = (mapped - functional.normalize(y, dim=1)).square().sum(1).mean()
            error.backward()
            adam.step()
            errors[iteration] = error.detach()
        wait(weight)
        return errors

    return run


def on_the_cpu(X: torch.Tensor, Y: torch.Tensor, batch: int, count: int, repeats: int) -> Timing:
    """Time the fit beside the bare loop."""
    fitting = fit_of(X, Y, FitSettings(batch_size=batch, iterations=count * (repeats + 1)))
    rates = by_turns(steps(fitting, count), bare_loop(X, Y, batch, count), count, repeats)
    return Timing(
        "fit on the CPU", "iterations/s", "a bare PyTorch loop: autograd, fused Adam, preallocated", *rates, goal=0.97,
        note=f"{len(X)} rows of {X.shape[1]} and {Y.shape[1]} numbers, batches of {batch}, "
        f"{torch.get_num_threads()} threads",
    )  # fmt: skip


def beside_a_loader(
    features: tuple[torch.Tensor, torch.Tensor], batch: int, count: int, repeats: int, goal: float | None = 20
) -> list[Timing]:
    """Time the whole fit, and the drawing of batches alone, beside two processes that load the same rows.

    There is no `goal` if a step's matrix products take most of the time, as with many numbers on a CPU.
    """
    X, Y = features
    loader = loaded(X, Y, batch, count)
    fitting = fit_of(X, Y, FitSettings(batch_size=batch, iterations=count * (repeats + 1)))
    whole = by_turns(steps(fitting, count), bare_loop(X, Y, batch, count, loader), count, repeats)
    rows = ResidentRows(X, [Y], 0)

    def draw() -> None:
        for _ in range(count):
            rows.draw(batch)
        wait(X)

    def load() -> None:
        for x, y in loader:
            x.to(X.device), y.to(X.device)
        wait(X)

    where = f"rows of {X.shape[1]} and {Y.shape[1]} numbers on the {X.device.type}, batches of {batch}"
    reference = "the bare loop, rows from torch's DataLoader, 2 workers"
    return [
        Timing("fit against DataLoader", "iterations/s", reference, *whole, goal=goal, note=where),
        Timing(
            "batches against DataLoader", "batches/s", "torch's DataLoader, 2 workers",
            *by_turns(draw, load, count, repeats), note=f"without the fit: {where}",
        ),
    ]  # fmt: skip


def loaded(X: torch.Tensor, Y: torch.Tensor, batch: int, count: int) -> DataLoader:
    """Return `count` batches from a DataLoader whose workers live on from one round to the next."""
    rows = TensorDataset(X.cpu(), Y.cpu())
    drawn = RandomSampler(rows, replacement=True, num_samples=batch * count)
    return DataLoader(rows, batch, sampler=drawn, num_workers=2, persistent_workers=True, pin_memory=X.is_cuda)


def of_the_paper(X: torch.Tensor, Y: torch.Tensor, batch: int, count: int, repeats: int, compiled: bool) -> Timing:
    """Time both directions, one after the other, beside their floor. An iteration is one of each."""
    settings = FitSettings(batch_size=batch, iterations=count * (repeats + 1), tf32=True, compile=compiled)
    runs = [steps(fit_of(*pair, settings), count) for pair in ((X, Y), (Y, X))]
    floors = [floor(*pair, batch, count) for pair in ((X, Y), (Y, X))]
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        rates = by_turns(lambda: [run() for run in runs], lambda: [run() for run in floors], count, repeats)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    seconds = [100_000 / median(found) for found in rates]
    return Timing(
        "fit on one GPU" + (", compiled" if compiled else ""), "iterations/s, both directions",
        "the floor: its matrix products, and copies of the bytes that must move", *rates, goal=1 / 1.5,
        note=f"{len(X)} rows of {X.shape[1]} and {Y.shape[1]} numbers, batches of {batch}, TF32; 100,000 iterations of "
        f"both directions take {seconds[0]:.0f} s, the floor {seconds[1]:.0f} s, extrapolated from {count}",
    )  # fmt: skip


def several_targets(X: torch.Tensor, Y: torch.Tensor, batch: int, count: int, repeats: int) -> Timing:
    """Time the fit of one source to TARGETS targets at once beside as many fits. An iteration is one of each target."""
    settings = FitSettings(batch_size=batch, iterations=count * (repeats + 1), tf32=True)
    targets = [Y.roll(place, 1) for place in range(TARGETS)]
    at_once = AdamFits(ResidentRows(X, targets, 0), X.shape[1], [Y.shape[1]] * TARGETS, settings, 0)
    alone = [steps(fit_of(X, target, settings), count) for target in targets]
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        rates = by_turns(steps(at_once, count), lambda: [run() for run in alone], count, repeats)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return Timing(
        "fit of one source, several targets", "iterations/s, all targets", f"{TARGETS} fits, one after another", *rates,
        goal=2.0, note=f"{len(X)} rows of {X.shape[1]} and {Y.shape[1]} numbers, batches of {batch}, TF32",
    )  # fmt: skip


def floor(X: torch.Tensor, Y: torch.Tensor, batch: int, count: int) -> Callable[[], None]:
    """Return a function with the work that no fit can do without, at this device's own rates.

    That is two matrix products for each iteration, M' x and the slope by M', and plain copies of the bytes that must
    move: the batch's rows, read and written, and Adam's, which reads M', its slope and two moments, and writes all but
    the slope.
    """
    x, weight, predicted = X[:batch], X.new_empty(Y.shape[1], X.shape[1]).fill_(0.01), Y[:batch].clone()
    slope = torch.empty_like(weight)
    numbers = batch * (X.shape[1] + Y.shape[1]) + 7 * weight.numel() // 2  # a copy reads and writes each once
    source, target = X.new_zeros(numbers), X.new_empty(numbers)

    def run() -> None:
        for _ in range(count):
            torch.mm(x, weight.T, out=predicted)
            torch.mm(predicted.T, x, out=slope)
            target.copy_(source)
        wait(X)

    return run
