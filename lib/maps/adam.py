"""Fit M_{A->B} as the paper does: Adam on E, rows drawn at random, no labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import distributed

from lib.experiment.settings import FitSettings
from lib.maps.affine import AffineMap
from lib.maps.batches import Rows
from lib.maps.error import error_and_slope


class AdamFit:
    """The paper's fit of one map, step by step. Its state can be saved after any step; a restored fit continues
    identically.

    `rows` gives batches of A's features (d_A numbers a row) and of B's (d_B) on the device that computes; B's have unit
    length. M' starts at Glorot-uniform random weights, drawn with `seed`; b starts at zero.

    If `settings.workers` is above 1, that many processes, the group of torch.distributed, fit the map together. Each
    process calls the same methods, gets its share of each batch from `rows`, and has the same map as the others after
    every step. Raises ValueError if the group has another size.

    Every step writes into the same memory and never waits for the device, which holds the learning rates, the errors
    and the count of iterations. So on a GPU one process whose `rows` can be captured turns a step into one CUDA graph,
    after WARM_UP plain steps: its kernels are too short to be launched one by one.
    """

    WARM_UP = 3

    def __init__(self, rows: Rows, d_A: int, d_B: int, settings: FitSettings, seed: int) -> None:
        group = distributed.get_world_size() if settings.workers > 1 and distributed.is_initialized() else 1
        if group != settings.workers:
            raise ValueError(f"expected {settings.workers} processes in torch.distributed's group, there are {group}")
        self.rows, self.settings = rows, settings
        device = rows.device
        limit = (6 / (d_A + d_B)) ** 0.5  # Glorot and Bengio 2010, equation 16
        start = torch.rand(d_B, d_A, generator=torch.Generator().manual_seed(seed))
        self.weight = ((2 * start - 1) * limit).to(device)
        self.bias = torch.zeros(d_B, device=device)
        self.message = torch.zeros(d_B * d_A + d_B + 1, device=device)  # what workers add up: slopes and error
        slopes, slope, self.error = self.message.split([d_B * d_A, d_B, 1])
        self.weight.grad, self.bias.grad = slopes.view(d_B, d_A), slope
        self.iteration = 0  # how many are done
        self.place = torch.zeros(1, dtype=torch.int64, device=device)  # the same on the device
        self.errors = torch.zeros(settings.iterations, device=device)
        decay = (1 - settings.decay) ** torch.arange(settings.iterations, dtype=torch.float64)
        self.rates = (settings.learning_rate * decay).float().to(device)
        self.rate = self.rates[:1].clone()
        self.adam = torch.optim.Adam(
            [self.weight, self.bias],
            lr=self.rate,
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
            fused=True,
            capturable=device.type == "cuda",
        )
        self.error_and_slope: Callable[..., tuple[torch.Tensor, torch.Tensor]] = error_and_slope
        if settings.compile:
            self.error_and_slope = torch.compile(error_and_slope)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.plain_steps = 0

    def step(self) -> None:
        """Do one iteration: draw a batch, compute its mean error E, and let Adam step at this iteration's learning
        rate.

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
        x, y = self.rows.draw(self.settings.batch_size)
        predicted = torch.addmm(self.bias, x, self.weight.T)
        error, slope = self.error_and_slope(predicted, y, self.settings.batch_size)
        self.error.copy_(error)
        torch.mm(slope.T, x, out=self.weight.grad)  # y = M' x + b: the slope by M' is the sum of slope x'
        torch.sum(slope, 0, out=self.bias.grad)
        if self.settings.workers > 1:
            distributed.all_reduce(self.message)  # each has its rows' part of the batch's mean
        self.adam.step()
        self.errors.index_copy_(0, self.place, self.error)
        self.place += 1

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
        """Return E of the last batch. It waits for the device, as `curve` and `state` do."""
        return float(self.errors[self.iteration - 1])

    def curve(self) -> np.ndarray:
        """Return E of each batch so far, (iterations,) float32."""
        return self.errors[: self.iteration].cpu().numpy().copy()

    def map(self) -> AffineMap:
        """Return the map as it is now."""
        return AffineMap(self.weight.clone(), self.bias.clone())

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs to continue identically. It must be saved before the next step changes it."""
        return {
            "weight": self.weight,
            "bias": self.bias,
            "adam": self.adam.state_dict()["state"],
            "rows": self.rows.state(),
            "errors": self.errors[: self.iteration].clone(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where the fit was that gave `state`, whose tensors may lie on another device."""
        self.weight.copy_(state["weight"])
        self.bias.copy_(state["bias"])
        own = self.adam.state_dict()["param_groups"]
        self.adam.load_state_dict({"state": state["adam"], "param_groups": own})
        self.adam.param_groups[0]["lr"] = self.rate  # which loading has copied
        self.rows.restore(state["rows"])
        self.iteration = len(state["errors"])
        self.errors[: self.iteration] = state["errors"]
        self.place.fill_(self.iteration)
        self.graph, self.plain_steps = None, 0  # the graph's Adam had other memory
