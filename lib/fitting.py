"""Fitting M_{A->B} as the paper does: Adam on the distance of unit-length vectors, rows drawn at random, no labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import distributed
from torch.nn import functional

from lib import experiment
from lib.maps import AffineMap
from lib.rows import Rows


def unit_distance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """E of each pair of rows, (n,): || x/|x| - y/|y| ||^2, the paper's error. Lies in [0, 4].

    With both at unit length it equals |x|^2 + |y|^2 - 2 x.y = 2 - 2 cos(x, y); the difference is squared all the same,
    since 2 - 2 cos cancels to noise where x and y nearly agree.
    """
    return (functional.normalize(x, dim=1) - functional.normalize(y, dim=1)).square().sum(1)


class AdamFit:
    """The paper's fit of one map, in steps, with all its state: it can be saved after any of them and goes on equally.

    `rows` gives batches of A's features (d_A numbers a row) and B's (d_B), on the device that computes. M' starts at
    Glorot-uniform random weights, drawn with `seed`, b at zero.

    With `settings.workers` above 1 so many processes, the group of torch.distributed, fit the one map together: each
    calls the same methods, has its share of each batch from `rows`, and after every step the same map as the others.
    Raises ValueError where the group has another size.
    """

    def __init__(self, rows: Rows, d_A: int, d_B: int, settings: experiment.Fit, seed: int) -> None:
        group = distributed.get_world_size() if settings.workers > 1 and distributed.is_initialized() else 1
        if group != settings.workers:
            raise ValueError(f"expected {settings.workers} processes in torch.distributed's group, there are {group}")
        self.rows, self.settings = rows, settings
        limit = (6 / (d_A + d_B)) ** 0.5  # Glorot and Bengio 2010, equation 16
        start = torch.rand(d_B, d_A, generator=torch.Generator().manual_seed(seed))
        self.weight = ((2 * start - 1) * limit).to(rows.device).requires_grad_()
        self.bias = torch.zeros(d_B, device=rows.device).requires_grad_()
        self.adam = torch.optim.Adam(
            [self.weight, self.bias],
            lr=settings.learning_rate,
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
        )
        self.errors: list[torch.Tensor] = []

    @property
    def iteration(self) -> int:
        """How many are done."""
        return len(self.errors)

    def step(self) -> None:
        """One iteration: a random batch, its mean error E, Adam, with the learning rate of this iteration."""
        self.adam.param_groups[0]["lr"] = self.settings.learning_rate * (1 - self.settings.decay) ** self.iteration
        x, y = self.rows.draw(self.settings.batch_size)
        errors = unit_distance(y, functional.linear(x, self.weight, self.bias))
        error = errors.sum() / self.settings.batch_size  # of several workers each has a part of the batch's mean
        self.adam.zero_grad()
        error.backward()
        self.errors.append(self.add_up(error.detach()))
        self.adam.step()

    def add_up(self, error: torch.Tensor) -> torch.Tensor:
        """The sum of all workers' errors; their gradients are summed in place. All in one message."""
        if self.settings.workers == 1:
            return error
        gradients = [parameter.grad for parameter in (self.weight, self.bias) if parameter.grad is not None]
        message = torch.cat([error.reshape(1), *(gradient.flatten() for gradient in gradients)])
        distributed.all_reduce(message)
        parts = message[1:].split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return message[0].clone()

    def curve(self) -> np.ndarray:
        """E of each batch so far, (iterations,) float32. Where the features are on a GPU this waits for it."""
        return torch.stack(self.errors).float().cpu().numpy() if self.errors else np.empty(0, np.float32)

    def map(self) -> AffineMap:
        """The map as it is now."""
        return AffineMap(self.weight.detach().clone(), self.bias.detach().clone())

    def state(self) -> dict[str, Any]:
        """All that `restore` needs to go on exactly where this fit is."""
        return {
            "weight": self.weight.detach().cpu(),
            "bias": self.bias.detach().cpu(),
            "adam": self.adam.state_dict(),
            "rows": self.rows.state(),
            "errors": torch.from_numpy(self.curve()),
        }

    def restore(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            self.weight.copy_(state["weight"])
            self.bias.copy_(state["bias"])
        self.adam.load_state_dict(state["adam"])
        self.rows.restore(state["rows"])
        self.errors = list(state["errors"].to(self.rows.device))
