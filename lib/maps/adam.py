"""Fit maps M_{A->B} as the paper does: Adam on E, rows drawn at random, no labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import distributed
from torch.optim.adam import adam

from lib.experiment.settings import FitSettings
from lib.maps.affine import AffineMap
from lib.maps.batches import Rows
from lib.maps.error import error_and_slope

ErrorAndSlope = Callable[[torch.Tensor, torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]]


class AdamFits:
    """The paper's fits of maps from one source A to several targets B_1 ... B_k, step by step, all on the same batches.

    Each target has its own E, its own map and its own curve. The states can be saved after any step; restored fits
    continue identically.

    `rows` gives batches of A's features (d_A numbers a row) and of each target's (d_B, in the order of `sizes`) on the
    device that computes; the targets' have unit length. M' starts at Glorot-uniform random weights, drawn with `seed`;
    b starts at zero. On a CPU a map is bit by bit the same whichever others are fitted beside it. On a GPU the maps
    stand below each other in one matrix, so that one wide product serves all targets.

    If `settings.workers` is above 1, that many processes, the `group` of torch.distributed, fit the maps together. Each
    process calls the same methods, gets its share of each batch from `rows`, and has the same maps as the others after
    every step. Raises ValueError if the group has another size.

    Every step writes into the same memory and never waits for the device, which holds the learning rates, the errors
    and the count of iterations. So on a GPU one process whose `rows` can be captured turns a step into one CUDA graph,
    after WARM_UP plain steps: its kernels are too short to be launched one by one.
    """

    WARM_UP = 3

    def __init__(
        self,
        rows: Rows,
        d_A: int,
        sizes: Sequence[int],
        settings: FitSettings,
        seed: int,
        group: distributed.ProcessGroup | None = None,
    ) -> None:
        together = settings.workers > 1 and distributed.is_initialized()
        processes = distributed.get_world_size(group) if together else 1
        if processes != settings.workers:
            raise ValueError(
                f"expected {settings.workers} processes in torch.distributed's group, there are {processes}"
            )
        self.rows, self.settings, self.group = rows, settings, group
        device = rows.device
        wide = device.type == "cuda"
        self.stacks = [Stack(d_A, part, seed, device) for part in ([list(sizes)] if wide else [[d] for d in sizes])]
        self.iteration = 0  # how many are done
        self.place = torch.zeros(1, dtype=torch.int64, device=device)  # the same on the device
        self.errors = torch.zeros(len(sizes), settings.iterations, device=device)
        decay = (1 - settings.decay) ** torch.arange(settings.iterations, dtype=torch.float64)
        self.rates = (settings.learning_rate * decay).float().to(device)
        self.rate = self.rates[:1].clone()
        self.error_and_slope: ErrorAndSlope = torch.compile(error_and_slope) if settings.compile else error_and_slope
        self.graph: torch.cuda.CUDAGraph | None = None
        self.plain_steps = 0

    def step(self) -> None:
        """Do one iteration: draw a batch, compute the mean error E of each target, and let Adam step at this
        iteration's learning rate.

        Raises ValueError after the last iteration.
        """
        if self.iteration == self.settings.iterations:
            raise ValueError(f"all {self.iteration} iterations of this fit are done")
        if self.graph is None and self.plain_steps >= self.WARM_UP and self.capturable:
            self.capture()
        if self.graph is None:
            self.iterate()
            self.plain_steps += 1
        else:
            self.graph.replay()
        self.iteration += 1

    def iterate(self) -> None:
        """Do what a step does on the device. Nothing here may depend on the iteration except through `place`."""
        torch.index_select(self.rates, 0, self.place, out=self.rate)
        x, targets = self.rows.draw(self.settings.batch_size)
        first = 0
        for stack in self.stacks:
            stack.find_slopes(
                x, targets[first : first + len(stack.sizes)], self.settings.batch_size, self.error_and_slope
            )
            if self.settings.workers > 1:
                distributed.all_reduce(stack.message, group=self.group)  # each has its rows' part of the batch's mean
            self.errors[first : first + len(stack.sizes)].index_copy_(1, self.place, stack.errors[:, None])
            first += len(stack.sizes)
        self.move()
        self.place += 1

    def move(self) -> None:
        """Let Adam step once, by its function: the optimizer's class would import PyTorch's compiler, for a second."""
        adam(
            [parameter for stack in self.stacks for parameter in stack.parameters],
            [slope for stack in self.stacks for slope in stack.slopes],
            [moment for stack in self.stacks for moment in stack.first_moments],
            [moment for stack in self.stacks for moment in stack.second_moments],
            [],
            [step for stack in self.stacks for step in stack.steps],
            fused=True,
            amsgrad=False,
            beta1=self.settings.beta1,
            beta2=self.settings.beta2,
            lr=self.rate,
            weight_decay=0.0,
            eps=self.settings.epsilon,
            maximize=False,
        )

    @property
    def capturable(self) -> bool:
        """Whether a step can become a CUDA graph."""
        return self.rows.device.type == "cuda" and self.rows.generator is not None and self.settings.workers == 1

    def capture(self) -> None:
        """Record `iterate` as a CUDA graph. That computes nothing: no iteration is done, no random number is drawn."""
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(self.rows.generator)
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.iterate()

    def last_error(self) -> float:
        """Return the last batch's mean E over the targets. It waits for the device, as `curves` and `states` do."""
        return float(self.errors[:, self.iteration - 1].mean())

    def curves(self) -> np.ndarray:
        """Return E of each batch so far, (k, iterations) float32."""
        return self.errors[:, : self.iteration].cpu().numpy().copy()

    def maps(self) -> list[AffineMap]:
        """Return the map to each target as it is now."""
        return [
            AffineMap(weight.clone(), bias.clone())
            for stack in self.stacks
            for weight, bias in zip(stack.split(stack.weight), stack.split(stack.bias), strict=True)
        ]

    def states(self) -> list[dict[str, Any]]:
        """Return for each target all that `restore` needs to continue identically.

        They must be saved before the next step changes them.
        """
        rows = self.rows.state()
        found = []
        for stack in self.stacks:
            parts = zip(*(stack.split(tensor) for tensor in stack.tensors), strict=True)
            found += [{"tensors": list(tensors), "rows": rows} for tensors in parts]
        for state, errors in zip(found, self.errors, strict=True):
            state["errors"] = errors[: self.iteration].clone()
        return found

    def restore(self, states: Sequence[dict[str, Any]]) -> None:
        """Continue where the fits were that gave `states`, whose tensors may lie on another device.

        Raises ValueError if they were not saved after the same iteration.
        """
        iterations = {len(state["errors"]) for state in states}
        if len(iterations) != 1 or len(states) != len(self.errors):
            raise ValueError(f"expected {len(self.errors)} states after one iteration, got {sorted(iterations)}")
        self.iteration = iterations.pop()
        first = 0
        for stack in self.stacks:
            mine = states[first : first + len(stack.sizes)]
            for tensor, parts in zip(stack.tensors, zip(*(s["tensors"] for s in mine), strict=True), strict=True):
                tensor.copy_(torch.cat(parts))
            for step in stack.steps:
                step.fill_(self.iteration)
            first += len(stack.sizes)
        self.rows.restore(states[0]["rows"])
        self.errors[:, : self.iteration] = torch.stack([state["errors"] for state in states])
        self.place.fill_(self.iteration)
        self.graph, self.plain_steps = None, 0  # captured anew, with the generator that `rows` has now


class Stack:
    """Maps from one source to targets of `sizes`, whose weights stand below each other in one matrix (D, d_A)."""

    def __init__(self, d_A: int, sizes: list[int], seed: int, device: torch.device) -> None:
        self.sizes, D = sizes, sum(sizes)
        self.weight = torch.cat([initial_weight(d_A, d_B, seed) for d_B in sizes]).to(device)
        self.bias = torch.zeros(D, device=device)
        self.message = torch.zeros(D * d_A + D + len(sizes), device=device)  # what workers add up: slopes and errors
        slopes, slope, self.errors = self.message.split([D * d_A, D, len(sizes)])
        self.parameters, self.slopes = [self.weight, self.bias], [slopes.view(D, d_A), slope]
        self.first_moments = [torch.zeros_like(parameter) for parameter in self.parameters]  # Adam's m and v
        self.second_moments = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps = [torch.zeros((), device=device) for _ in self.parameters]

    @property
    def tensors(self) -> list[torch.Tensor]:
        """What a checkpoint holds of each map: M', b, then the moments of M' and those of b."""
        moments = zip(self.first_moments, self.second_moments, strict=True)
        return [*self.parameters, *(moment for both in moments for moment in both)]

    def split(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Return each target's rows of a tensor (D, ...)."""
        return list(tensor.split(self.sizes))

    def find_slopes(
        self, x: torch.Tensor, targets: Sequence[torch.Tensor], size: int, error_and_slope: ErrorAndSlope
    ) -> None:
        """Write E of each target and its slopes into `message`, for rows x (n, d_A) and y/|y| (n, d_B) of each target.

        The batch has `size` rows, of which these are n.
        """
        predicted = torch.addmm(self.bias, x, self.weight.T).split(self.sizes, dim=1)
        slopes = []
        for place, (mapped, unit) in enumerate(zip(predicted, targets, strict=True)):
            error, slope = error_and_slope(mapped, unit, size)
            self.errors[place].copy_(error)
            slopes.append(slope)
        slope = slopes[0] if len(slopes) == 1 else torch.cat(slopes, dim=1)
        torch.mm(slope.T, x, out=self.slopes[0])  # y = M' x + b: the slope by M' is the sum of slope x'
        torch.sum(slope, 0, out=self.slopes[1])


def initial_weight(d_A: int, d_B: int, seed: int) -> torch.Tensor:
    """Return M' (d_B, d_A) as it is before the first step: Glorot and Bengio 2010, equation 16."""
    limit = (6 / (d_A + d_B)) ** 0.5
    return (2 * torch.rand(d_B, d_A, generator=torch.Generator().manual_seed(seed)) - 1) * limit
