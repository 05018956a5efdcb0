"""Where a fit's random batches come from: rows of A's and B's features of the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch


@dataclass(frozen=True)
class Share:
    """Which part of each batch is this worker's, of several that fit one map together."""

    rank: int = 0
    workers: int = 1

    def of(self, size: int) -> slice:
        """The worker's places in a batch of `size`. All workers' make up the batch, and differ by one at most."""
        return slice(size * self.rank // self.workers, size * (self.rank + 1) // self.workers)


ALL = Share()


class Rows(Protocol):
    """A source of random batches on the device that computes. It goes on exactly where its `state` was taken.

    Where several workers share each batch, each has a source of its own, and the first worker's state serves them all.
    """

    device: torch.device

    @property
    def generator(self) -> torch.Generator | None:
        """All the state that `draw` has, where a CUDA graph can hold `draw`; else None."""

    def draw(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """This worker's share of the next batch of `size`: A's features (share, d_A) and B's (share, d_B), row by row
        of the same images. The next call may write into the same memory.
        """

    def state(self) -> dict[str, Any]:
        """What `restore` needs: tensors on the CPU and plain values, for torch.load(weights_only=True)."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where another source of the same rows was when it gave `state`."""


class ResidentRows:
    """All rows lie on the device, and each batch is drawn there, every row equally likely, with replacement.

    `X` (n, d_A) are A's features, `Y` (n, d_B) B's. Workers with the same `seed` draw the same whole batches, and take
    their own `share` of each, so that a fit doesn't depend on how many share it.

    Raises ValueError where X and Y aren't of the same images.
    """

    def __init__(self, X: torch.Tensor, Y: torch.Tensor, seed: int, share: Share = ALL) -> None:
        if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y) or len(X) == 0:
            raise ValueError(
                f"expected features (n, d_A) and (n, d_B), n > 0, got {tuple(X.shape)} and {tuple(Y.shape)}"
            )
        self.X, self.Y, self.share = X, Y, share
        self.device = X.device
        self.generator = torch.Generator(X.device).manual_seed(seed)
        self.x, self.y = X[:0].clone(), Y[:0].clone()

    def draw(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.randint(len(self.X), (size,), device=self.device, generator=self.generator)
        rows = rows[self.share.of(size)]
        if len(self.x) != len(rows):
            self.x, self.y = self.X.new_empty(len(rows), self.X.shape[1]), self.Y.new_empty(len(rows), self.Y.shape[1])
        return torch.index_select(self.X, 0, rows, out=self.x), torch.index_select(self.Y, 0, rows, out=self.y)

    def state(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.generator.set_state(state["generator"])
