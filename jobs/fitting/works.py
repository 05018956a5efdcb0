"""What is to be fitted, as the driver hands it to workers and tasks. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import ray

from lib.experiment.layout import Layout
from lib.experiment.settings import FitSettings
from lib.experiment.variants import MapKey, Subset, Variant
from lib.features.tables import FeatureTables
from lib.storage.manifests import Artifact

Pair = tuple[str, str]


@dataclass(frozen=True)
class Work:
    """All that the workers of the fits by Adam need to know."""

    settings: FitSettings
    seed: int  # the experiment's
    files: Layout
    tables: FeatureTables
    artifacts: Mapping[MapKey, Artifact]  # the maps to fit
    board: ray.actor.ActorHandle  # where workers write how far they are
    streamed: frozenset[tuple[str, str]] = frozenset()  # pairs whose rows no worker's memory holds
    teams: int = 1  # that fit side by side, if there is room; each has settings.workers workers


@dataclass(frozen=True)
class Curves:
    """One pair's points of curves, and the table of their predictions. A network beside itself has a control alone."""

    source: str
    target: str
    variants: Sequence[Variant]
    artifact: Artifact
    keep: bool = False  # whether the maps are kept, too
    subsets: Sequence[Subset] = ()  # which are only counted
    controls: bool = False  # whether controls are counted, too
    seed: int = 0  # the experiment's
    ranked: int = 0  # evaluation images among which mapped vectors look for their own


@dataclass(frozen=True)
class ClosedFormWork:
    """What is to be fitted in closed form, and to which features."""

    files: Layout
    train: FeatureTables
    val: FeatureTables
    maps: Mapping[MapKey, Artifact]
    curves: Mapping[Pair, Curves]


@dataclass(frozen=True)
class PairWork:
    """What is to be fitted from the sums of one pair."""

    source: str
    target: str
    maps: dict[Variant, Artifact] = field(default_factory=dict)
    curves: list[Curves] = field(default_factory=list)  # one or none

    @property
    def variants(self) -> list[Variant]:
        """All kinds of map that are fitted."""
        return [*self.maps, *(variant for curves in self.curves for variant in curves.variants)]
