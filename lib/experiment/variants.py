"""Which maps are fitted for each pair of networks: the main one, and others that it is set beside."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from lib.experiment.settings import FitSettings

# Disjoint parts of the training rows, as shares of them. The first 2, 3, 4, 5 and all 7 of them make up SHARES.
PARTS = (1 / 32, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 4, 1 / 4)
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)


def assign_parts(image_ids: list[str]) -> np.ndarray:
    """(n,) which of the PARTS each image is in: by its id alone, whatever the order of the rows."""
    place = np.array([zlib.crc32(image_id.encode()) / 2**32 for image_id in image_ids])
    return np.searchsorted(np.cumsum(PARTS), place, side="right")


@dataclass(frozen=True)
class Variant:
    """One way to fit a map."""

    family: str
    seed: int = 0  # added to the experiment's
    rank: int | None = None  # of the weight; None: full
    share: float = 1.0  # of the training rows

    @property
    def sums(self) -> bool:
        """Whether it is made from sums over the training features."""
        return self.family in ("least_squares", "orthogonal")

    @property
    def parts(self) -> int:
        """How many of the PARTS it is made from."""
        return next(k for k in range(1, len(PARTS) + 1) if sum(PARTS[:k]) >= self.share)

    @property
    def name(self) -> str:
        """As in the names of its files."""
        parts = [self.family]
        if self.seed:
            parts.append(f"seed{self.seed}")
        if self.rank is not None:
            parts.append(f"rank{self.rank}")
        if self.share < 1:
            parts.append(f"1of{round(1 / self.share)}rows")
        return ".".join(parts)


def variants(fit: FitSettings, smaller: int) -> list[Variant]:
    """All variants of a pair whose smaller feature size is `smaller`, the main one first."""
    found = [Variant(family) for family in fit.families]
    if "affine" in fit.families:
        found += [Variant("affine", seed=seed) for seed in range(1, fit.seeds)]
    if "least_squares" in fit.families:
        found += [Variant("least_squares", rank=rank) for rank in sorted(set(fit.ranks)) if rank < smaller]
        found += [Variant("least_squares", share=share) for share in SHARES[:-1] if fit.learning_curve]
    return found


def map_name(source: str, target: str, variant: Variant) -> str:
    """Name of the map's files and of the folder of its predictions; the paper's map has the pair's name alone."""
    pair = f"{source}-to-{target}"
    return pair if variant == Variant("affine") else f"{pair}.{variant.name}"
