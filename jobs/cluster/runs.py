"""One run of an experiment: its settings, and where its files lie."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from lib.experiment.settings import Experiment
from lib.experiment.variants import Variant, variants
from lib.features.tables import feature_size
from lib.networks.descriptions import Describing
from lib.storage.uris import join_uri


@dataclass(frozen=True)
class Run:
    """One run of an experiment: its settings as they were written, and where its files are."""

    written: Experiment
    root: str
    overwrite: bool = False
    begun: Describing | None = None  # of its networks, where that was begun beside Ray's start

    @property
    def folder(self) -> str:
        """`<root>/<experiment>`; absolute where local, since Ray's workers have other working directories."""
        root = self.root if "://" in self.root else os.path.abspath(os.path.expanduser(self.root))
        return join_uri(root, self.written.name)

    @property
    def experiment(self) -> Experiment:
        """The settings with "{root}" resolved."""
        return self.written.located(self.folder)

    def path(self, *parts: str) -> str:
        return join_uri(self.folder, *parts)

    def maps(self, source: str, target: str) -> list[Variant]:
        """Which maps a pair of networks has, the main one first. Raises TableError before their features are there."""
        sizes = [feature_size(self.path("features", "val"), network) for network in (source, target)]
        return variants(self.experiment.fit, min(sizes))


Stage = Callable[[Run], int]  # does what is still to be done; returns how many tables, maps or reports it made


def say(stage: str, text: str) -> None:
    print(f"[{stage}] {text}", flush=True)
