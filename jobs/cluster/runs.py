"""One run of an experiment: its settings, and where its files lie."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from lib.experiment.layout import Layout
from lib.experiment.settings import Experiment
from lib.images.tables import ListingTable
from lib.networks.descriptions import Describing
from lib.storage.uris import join_uri


@dataclass(frozen=True)
class Run:
    """One run of an experiment, as its command line asks for it."""

    written: Experiment  # as the file and --set have it
    root: str
    overwrite: bool = False
    repair: bool = False  # whether finished work is looked through for damage, and what is damaged made anew
    own_ray: bool = False  # whether Ray ends with this command
    begun: Describing | None = None  # describes the networks while Ray starts; None if nothing does
    listed: dict[str, ListingTable] = field(default_factory=dict, compare=False)  # by split, once they are known

    @cached_property
    def files(self) -> Layout:
        """Where the run's files lie: absolute paths, since Ray's workers have other working directories."""
        root = self.root if "://" in self.root else os.path.abspath(os.path.expanduser(self.root))
        return Layout(join_uri(root, self.written.name))

    @cached_property
    def experiment(self) -> Experiment:
        """The settings with "{root}" resolved."""
        return self.written.located(self.files.folder)


# A stage does what is still to be done, and returns how many tables, maps or reports it made.
Stage = Callable[[Run], int]


_silent = False


def say_nothing() -> None:
    """Let `say` print nothing from now on."""
    global _silent  # what the command line asks for holds for the whole process
    _silent = True


def is_silent() -> bool:
    """Return whether `say` prints nothing."""
    return _silent


def say(stage: str, text: str) -> None:
    """Print one line of a stage's log at once, unless the run is a quiet one."""
    if not _silent:
        print(f"[{stage}] {text}", flush=True)
