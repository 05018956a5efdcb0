"""How far the fits are: one line for all maps, and one for a group of maps that takes long."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import ray

from jobs.cluster.progress import SECONDS, Progress, time_left
from lib.experiment.layout import Layout
from lib.experiment.variants import MapKey
from lib.storage.files import files_below
from lib.storage.manifests import Artifact
from lib.storage.uris import resolve

if TYPE_CHECKING:  # the driver needs no torch
    from lib.maps.adam import AdamFits


def finished_maps(files: Layout, artifacts: Mapping[MapKey, Artifact]) -> set[MapKey]:
    """Return which of these maps are finished, by one look into their folder."""
    written = set(files_below(files.maps, ".manifest.json"))
    return {key for key, artifact in artifacts.items() if resolve(artifact.manifest)[1] in written}


def map_progress(
    files: Layout, artifacts: Mapping[MapKey, Artifact], board: ray.actor.ActorHandle | None = None
) -> Progress:
    """Return what shows how many of these maps are finished, and what their workers write on the board."""
    return Progress(
        "fit",
        "maps",
        len(artifacts),
        lambda: len(finished_maps(files, artifacts)),
        lines=(lambda: ray.get(board.take.remote())) if board is not None else list,
        last=(lambda: ray.get(board.take_notes.remote())) if board is not None else list,
    )


class GroupProgress:
    """Writes on the board how far one group of maps is: iteration, error, iterations per second, time left."""

    def __init__(self, title: str, start: int, iterations: int, board: ray.actor.ActorHandle) -> None:
        self.title, self.start, self.iterations, self.board = title, start, iterations, board
        self.begin = self.last = time.monotonic()
        if start:
            self.board.note.remote(f"{title}: goes on from iteration {start}")

    def show(self, fits: AdamFits) -> None:
        """Write how far the group is, unless that was written less than half of SECONDS ago."""
        now = time.monotonic()
        if now - self.last < SECONDS / 2:
            return
        self.last = now
        rate = (fits.iteration - self.start) / (now - self.begin)
        left = time_left((self.iterations - fits.iteration) / rate)
        how_far = f"iteration {fits.iteration:,} of {self.iterations:,}, E {fits.last_error():.4f}"
        self.board.put.remote(self.title, f"{self.title}: {how_far}, {rate:.0f} iterations/s, {left} left")
