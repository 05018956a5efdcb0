"""Random batches for fits: rows of a source's and of its targets' features of the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional

from lib.errors import ManifestMismatch


@dataclass(frozen=True)
class Share:
    """The part of each batch that belongs to one of several workers, which fit one map together."""

    rank: int = 0
    workers: int = 1

    def of(self, size: int) -> slice:
        """Return the worker's places in a batch of `size`. All workers' places make up the batch and differ by one at
        most.
        """
        return slice(size * self.rank // self.workers, size * (self.rank + 1) // self.workers)


WHOLE = Share()


class Rows(Protocol):
    """A source of random batches on the device that computes. A restored source continues identically.

    E depends only on direction, so the targets' features are normalised to unit length once, here, and not in every
    step.

    If several workers share each batch, each worker has a source of its own, and the first worker's state serves all.
    """

    device: torch.device

    @property
    def generator(self) -> torch.Generator | None:
        """The generator that is all of `draw`'s state, if a CUDA graph can hold `draw`; else None."""

    def draw(self, size: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return this worker's share of the next batch of `size`: x (share, d_A) of the source, and y/|y| (share, d_B)
        of each target.

        Row i of all belongs to the same image. The next call may write into the same memory.
        """

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs: tensors on the CPU and plain values, for torch.load(weights_only=True)."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where another source of the same rows was when it gave `state`."""


class ResidentRows:
    """All rows lie on the device. Each batch is drawn there with replacement; every row is equally likely.

    `X` (n, d_A) are the source's features, `targets` have each target's (n, d_B). With `inplace`, the targets' features
    themselves are scaled to unit length, so that the device does not hold them twice. Workers with the same `seed` draw
    the same whole batches and take their own `share` of each, so that a fit does not depend on the number of workers.

    Raises ValueError if they do not all have the same number of rows.
    """

    def __init__(
        self,
        X: torch.Tensor,
        targets: Sequence[torch.Tensor],
        seed: int,
        share: Share = WHOLE,
        inplace: bool = False,
    ) -> None:
        for Y in targets:
            if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y) or len(X) == 0:
                raise ValueError(
                    f"expected features (n, d_A) and (n, d_B), n > 0, got {tuple(X.shape)} and {tuple(Y.shape)}"
                )
        self.X, self.share = X, share
        self.targets = [functional.normalize(Y, dim=1, out=Y if inplace else None) for Y in targets]
        self.device = X.device
        self.generator = torch.Generator(X.device).manual_seed(seed)
        self.drawn = [features[:0].clone() for features in (X, *targets)]

    def draw(self, size: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return this worker's share of the next batch, as Rows says."""
        rows = torch.randint(len(self.X), (size,), device=self.device, generator=self.generator)
        rows = rows[self.share.of(size)]
        features = (self.X, *self.targets)
        if len(self.drawn[0]) != len(rows):
            self.drawn = [whole.new_empty(len(rows), whole.shape[1]) for whole in features]
        for whole, into in zip(features, self.drawn, strict=True):
            torch.index_select(whole, 0, rows, out=into)
        return self.drawn[0], self.drawn[1:]

    def state(self) -> dict[str, Any]:
        """Return the generator's state."""
        return {"generator": self.generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`. Raises ManifestMismatch if it is a streamed fit's."""
        if "generator" not in state:
            raise ManifestMismatch('this fit was begun with fit.rows = "streamed": set that, or use --overwrite')
        self.generator.set_state(state["generator"])


Block = Sequence[np.ndarray]  # of the same images, any float: the source's features (k, d_A), each target's (k, d_B)


class StreamedRows:
    """More rows than the device holds: they pass through a pool there, and each batch is drawn from the pool.

    `stream(drawn)` begins an endless stream of blocks after `drawn` batches. The stream's next rows replace those that
    a batch takes out of the pool, so that each row is drawn once. The pool holds `size` rows. Each of several workers
    has a stream and a pool of its own, and draws its `share` of a batch from them.

    A restored source has a new stream and a new pool: its fit is as good, but not identical bit by bit.
    """

    generator = None  # the stream is no work of the device, which a CUDA graph could repeat

    def __init__(
        self, stream: Callable[[int], Iterator[Block]], size: int, device: torch.device, seed: int, share: Share = WHOLE
    ) -> None:
        self.stream, self.size, self.device, self.seed, self.share = stream, size, device, seed, share
        self.drawn = 0
        self.pool: _Pool | None = None

    def draw(self, size: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return this worker's share of the next batch, as Rows says."""
        if self.pool is None:
            draw = torch.Generator(self.device).manual_seed(self.seed + self.share.rank)
            self.pool = _Pool(self.stream(self.drawn), self.size, draw)
        part = self.share.of(size)
        self.drawn += 1
        return self.pool.draw(part.stop - part.start)

    def state(self) -> dict[str, Any]:
        """Return how many batches were drawn."""
        return {"drawn": self.drawn}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`. Raises ManifestMismatch if it is a resident fit's."""
        if "drawn" not in state:
            raise ManifestMismatch('this fit was begun with fit.rows = "resident": set that, or use --overwrite')
        self.drawn, self.pool = state["drawn"], None


class _Pool:
    """`size` rows of an endless stream, on the generator's device, in random order."""

    def __init__(self, blocks: Iterator[Block], size: int, generator: torch.Generator) -> None:
        self.blocks, self.size, self.generator = blocks, size, generator
        self.block: Block = next(blocks)
        self.taken = 0  # rows of the block
        self.features = [torch.empty(size, part.shape[1], device=generator.device) for part in self.block]
        self.gone = torch.arange(size, device=generator.device)  # places to be filled before the next batch
        self.order = self.gone[:0]  # places in which the next batches stand

    def draw(self, size: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return `size` random rows of the pool."""
        if size > self.size:
            raise ValueError(f"expected batches of at most {self.size} rows, the pool's, got {size}")
        self.fill()
        if len(self.order) < size:
            self.order = torch.randperm(self.size, generator=self.generator, device=self.generator.device)
        self.gone, self.order = self.order[:size], self.order[size:]
        x, *targets = (features[self.gone] for features in self.features)
        return x, targets

    def fill(self) -> None:
        """Put the stream's next rows where rows are gone."""
        while len(self.gone):
            if self.taken == len(self.block[0]):
                self.block, self.taken = next(self.blocks), 0
            rows = slice(self.taken, self.taken + len(self.gone))
            device = self.gone.device
            x, *targets = (torch.from_numpy(part[rows]).to(device, torch.float32) for part in self.block)
            places, self.gone = self.gone[: len(x)], self.gone[len(x) :]
            for features, new in zip(
                self.features, [x, *(functional.normalize(y, dim=1) for y in targets)], strict=True
            ):
                features[places] = new
            self.taken += len(x)
