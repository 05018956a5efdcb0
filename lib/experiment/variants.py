"""Which maps an experiment asks for: for each pair of networks a main one, and others that it is set beside."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import Protocol, TypeVar

import numpy as np

from lib.experiment.layout import map_name
from lib.experiment.settings import Experiment, FitSettings

SIXTEENTHS = 16
# Disjoint parts of the training rows, as shares of them: sixteenths, the first of which is divided, so that a fit to it
# alone can be cross-validated, too. The first 4, 5, 7, 11 and all 19 parts make up the SHARES.
PARTS = (1 / 64,) * 4 + (1 / SIXTEENTHS,) * (SIXTEENTHS - 1)
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)

SELF, LABEL_ONLY = "self", "label_only"  # controls: maps to oneself, and from features that hold the label alone

CURVE_ROWS = 2000  # images, at most, among which maps from parts of the training rows look for their own
FEW_ROWS = 10_000  # of which a part chosen by chance alone might be empty, or far from its share


def assign_parts(image_ids: list[str], edges: np.ndarray | None = None) -> np.ndarray:
    """Return the number of each image's part among PARTS, (n,). It depends on the image's id and on the edges alone.

    `edges` (PARTS,) are where parts end between 0 and 1; None means at their shares, which is right for many rows.
    """
    return np.searchsorted(np.cumsum(PARTS) if edges is None else edges, _places(image_ids), side="right")


def part_edges(image_ids: list[str]) -> np.ndarray:
    """Return the edges that give each part its share of few rows, one row at least.

    Raises ValueError if there are fewer rows than parts.
    """
    n, parts = len(image_ids), len(PARTS)
    if n < parts:
        raise ValueError(f"expected a row or more for each of {parts} parts, got {n}")
    ends = np.maximum(np.round(np.cumsum(PARTS) * n).astype(int), np.arange(1, parts + 1))
    ends = np.minimum(ends, n - np.arange(parts)[::-1])  # and leave one for each part that follows
    return np.append(np.sort(_places(image_ids))[ends[:-1]], 1.0)  # a part ends before the next one's first row


def _places(image_ids: list[str]) -> np.ndarray:
    """Return a place between 0 and 1 for each image, as if at random."""
    return np.array([zlib.crc32(image_id.encode()) / 2**32 for image_id in image_ids])


@dataclass(frozen=True)
class Variant:
    """One way to fit a map."""

    family: str
    seed: int = 0  # added to the experiment's seed
    rank: int | None = None  # of the weight; None is full rank
    share: float = 1.0  # of the training rows

    @property
    def needs_sums(self) -> bool:
        """Whether the map is made from sums over the training features."""
        return self.family in ("least_squares", "orthogonal")

    @property
    def parts(self) -> int:
        """How many of the PARTS the map is made from."""
        return next(k for k in range(1, len(PARTS) + 1) if sum(PARTS[:k]) >= self.share)

    @property
    def name(self) -> str:
        """The variant as file names have it."""
        words = [self.family]
        if self.seed:
            words.append(f"seed{self.seed}")
        if self.rank is not None:
            words.append(f"rank{self.rank}")
        if self.share < 1:
            words.append(f"1of{round(1 / self.share)}rows")
        return ".".join(words)

    @property
    def column(self) -> str:
        """The variant as columns of prediction tables have it."""
        return self.name.replace(".", "_")


@dataclass(frozen=True)
class MapKey:
    """Which map: M_{source->target}, fitted in one way."""

    source: str
    target: str
    variant: Variant

    @property
    def pair(self) -> tuple[str, str]:
        """Source and target."""
        return self.source, self.target

    @property
    def name(self) -> str:
        """The name of the map's files and of its prediction table."""
        return map_name(self.source, self.target, None if self.variant == Variant("affine") else self.variant.name)

    @property
    def title(self) -> str:
        """The map as log lines name it."""
        seed = f" (seed + {self.variant.seed})" if self.variant.seed else ""
        return f"{self.source} -> {self.target}{seed}"


def variants(experiment: Experiment, source: str, target: str, smaller: int) -> list[Variant]:
    """Return all variants for a pair whose smaller feature size is `smaller`, the main one first."""
    return [*full_variants(experiment, source, target), *curve_variants(experiment.fit, smaller)]


def full_variants(experiment: Experiment, source: str, target: str) -> list[Variant]:
    """Return a pair's variants of full rank from all training rows, the main one first.

    One that is made from both classifiers is left out where a network has none.
    """
    fit = experiment.fit
    both = experiment.networks[source].classifies and experiment.networks[target].classifies
    return [
        *(Variant(family) for family in fit.families if both or family != "classifiers"),
        *(Variant("affine", seed=seed) for seed in range(1, fit.seeds) if "affine" in fit.families),
    ]


def main_variant(experiment: Experiment) -> Variant:
    """Return the kind of map that results.json is about, the same for all pairs."""
    return Variant(experiment.fit.families[0])


def curve_variants(fit: FitSettings, smaller: int) -> list[Variant]:
    """Return the points of the curves by rank and by training rows; `smaller` is the smaller feature size of a pair."""
    if "least_squares" not in fit.families:
        return []
    return [
        *(Variant("least_squares", rank=rank) for rank in sorted(set(fit.ranks)) if rank < smaller),
        *(Variant("least_squares", share=share) for share in SHARES[:-1] if fit.learning_curve),
    ]


def full_of_curves(experiment: Experiment) -> list[Variant]:
    """Return the kind of map from all training rows at which learning curves end, if there are any."""
    fit = experiment.fit
    return [Variant("least_squares")] if fit.learning_curve and "least_squares" in fit.families else []


@dataclass(frozen=True)
class Subset:
    """Another draw of a share of the training rows, beside the first parts, which the share's Variant is made from."""

    share: float
    number: int  # from 1

    @property
    def name(self) -> str:
        """The subset as manifests have it."""
        return f"1of{round(1 / self.share)}rows.subset{self.number}"

    def parts(self, seed: int) -> tuple[int, ...]:
        """Return the numbers of its PARTS, which are whole sixteenths of the rows, ascending.

        The sixteenths are put in a random order, which is cut into as many subsets as there is room for; then comes the
        next order. So halves come in pairs that hold all rows together, number 0 with 1, 2 with 3, and so on.
        """
        size = round(self.share * SIXTEENTHS)
        order, place = divmod(self.number, SIXTEENTHS // size)
        sixteenths = np.arange(SIXTEENTHS)
        if order:  # the first one is that of the parts
            sixteenths = np.random.default_rng([seed, order]).permutation(SIXTEENTHS)
        chosen = sorted(sixteenths[place * size : (place + 1) * size].tolist())
        divided = len(PARTS) - SIXTEENTHS  # how many parts more the first sixteenth has
        return tuple(chain.from_iterable(range(divided + 1) if k == 0 else [k + divided] for k in chosen))


def subsets(fit: FitSettings) -> list[Subset]:
    """Return the draws of training rows whose spread the learning curve shows, share after share."""
    if not fit.learning_curve or "least_squares" not in fit.families:
        return []
    return [Subset(share, number) for share in SHARES[:-1] for number in range(1, fit.subsets)]


def pairs_with_points(experiment: Experiment) -> list[tuple[str, str]]:
    """Return the pairs that have curves or a control, those of each network with itself, its control, among them."""
    fit, networks = experiment.fit, list(experiment.networks)
    if "least_squares" not in fit.families:
        return []
    controlled = {name for name in networks if fit.controls and experiment.networks[name].classifies}
    curved = bool(fit.ranks or fit.learning_curve)
    pairs = [(source, target) for source, target in experiment.pairs() if curved or target in controlled]
    return [*pairs, *((network, network) for network in networks if network in controlled)]


class Directed(Protocol):
    """What leads from the features of one network to another's classifier or feature space."""

    @property
    def source(self) -> str:
        """The network that gives the features."""

    @property
    def target(self) -> str:
        """The network that takes them."""


Item = TypeVar("Item", bound=Directed)


def by_source(items: Iterable[Item]) -> dict[str, list[list[Item]]]:
    """Return for each source the items of each of its targets, in the order of their first ones."""
    found: dict[str, dict[str, list[Item]]] = {}
    for item in items:
        found.setdefault(item.source, {}).setdefault(item.target, []).append(item)
    return {source: list(targets.values()) for source, targets in found.items()}


def tiles(networks: Sequence[str], side: int) -> Iterator[tuple[list[str], list[str]]]:
    """Yield all ordered pairs of networks, also of each with itself, as tiles of at most `side` sources by `side`
    targets.

    What reads the networks of a tile once serves side x side pairs.
    """
    blocks = [list(networks[first : first + side]) for first in range(0, len(networks), side)]
    yield from product(blocks, blocks)
