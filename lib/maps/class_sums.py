"""Sums by class, from which comes a control: features that hold no more than which class an image belongs to."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from lib.maps.moments import Moments

SMALLEST = 2  # labelled images per class, in the mean, from which a spread within classes can be told


@dataclass(frozen=True, eq=False)
class ClassSums:
    """Sums over labelled rows by class, in float64: of a source's vectors, and of its targets' at unit length.

    Parts of the rows merge with +, also if one of them knows fewer classes.
    """

    counts: torch.Tensor  # (C,) rows of each class
    x: torch.Tensor  # (C, d_A)
    squares: float  # sum of |x|^2
    targets: dict[str, torch.Tensor]  # (C, d_B)

    @classmethod
    def of(cls, X: torch.Tensor, targets: Mapping[str, torch.Tensor], label: torch.Tensor) -> ClassSums:
        """Sum over X (n, d_A) and each target's vectors (n, d_B) for labels (n,), integers from 0."""
        classes = int(label.max()) + 1 if len(label) else 0

        def by_class(rows: torch.Tensor) -> torch.Tensor:
            sums = torch.zeros(classes, rows.shape[1], dtype=torch.float64, device=rows.device)
            return sums.index_add_(0, label, rows.double())

        unit = {name: by_class(functional.normalize(F.double(), dim=1)) for name, F in targets.items()}
        return cls(label.bincount(minlength=classes), by_class(X), float(X.double().square().sum()), unit)

    def __add__(self, other: ClassSums) -> ClassSums:
        """Return the sums over the rows of both."""
        return ClassSums(
            _padded_sum(self.counts, other.counts),
            _padded_sum(self.x, other.x),
            self.squares + other.squares,
            {name: _padded_sum(sums, other.targets[name]) for name, sums in self.targets.items()},
        )

    @property
    def means(self) -> torch.Tensor:
        """The source's mean vector of each class, (C, d_A); zeros for a class without rows."""
        return self.x / self.counts.clamp_min(1)[:, None]

    @property
    def known(self) -> bool:
        """Whether there are rows enough to tell a spread within classes."""
        return int(self.counts.sum()) >= SMALLEST * max(1, int((self.counts > 0).sum()))

    def spread(self, d_A: int) -> float:
        """Return the source's standard deviation within classes, the root of its mean over d_A features."""
        n, classes = int(self.counts.sum()), int((self.counts > 0).sum())
        within = self.squares - float((self.x * self.means).sum())
        return float(max(within, 0.0) / (max(n - classes, 1) * d_A)) ** 0.5

    def label_only_moments(self, target: str, like: Moments) -> Moments:
        """Return what Moments of the control and the target's rows are expected to be: x is its class's mean plus
        independent noise.

        The noise has the source's `spread` in each feature. `like` are the moments of the pair itself, whose lengths
        and spaces hold here, too. After Smith et al. 2025, "Functional alignment can mislead".
        """
        means, counts = self.means, self.counts.double()
        XX = (means * counts[:, None]).T @ means
        XX.diagonal().add_(float(counts.sum()) * self.spread(like.d_A) ** 2)
        y = self.targets[target]
        return Moments(
            int(self.counts.sum()), like.length, like.with_length, self.x.sum(0), y.sum(0), XX, means.T @ y, like.space,
            like.target_space,
        )  # fmt: skip


def _padded_sum(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the sum of tensors of which one may have fewer rows."""
    short, long = (a, b) if len(a) <= len(b) else (b, a)
    total = long.clone()
    total[: len(short)] += short
    return total


@dataclass(frozen=True, eq=False)
class LabelOnly:
    """The control's vectors of labelled images: the source's mean of the class plus noise that depends on the id."""

    means: np.ndarray  # (C, d_A)
    seen: np.ndarray  # (C,) bool: classes that have training images
    spread: float
    seed: int

    def has(self, label: np.ndarray) -> np.ndarray:
        """Return whether the classes of labels (n,) have a mean, (n,) bool."""
        inside = (label >= 0) & (label < len(self.seen))
        return inside & self.seen[np.where(inside, label, 0)]

    def vectors(self, image_id: Sequence[str], label: np.ndarray) -> np.ndarray:
        """Return the vectors (n, d_A), float32, of images whose classes have a mean."""
        d_A = self.means.shape[1]
        noise = [
            np.random.default_rng([self.seed, zlib.crc32(name.encode())]).standard_normal(d_A, np.float32)
            for name in image_id
        ]
        drawn = np.stack(noise) if noise else np.empty((0, d_A), np.float32)
        return (self.means[label] + self.spread * drawn).astype(np.float32)
