"""Say every ten seconds how far the fits are: one line for all maps, one for a group of maps that takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from jobs.cluster.runs import say
from lib.errors import StorageError
from lib.experiment.layout import Layout
from lib.experiment.variants import MapKey
from lib.maps.adam import AdamFits
from lib.storage.files import files_below
from lib.storage.manifests import Artifact
from lib.storage.uris import resolve

SECONDS = 10.0


def finished_maps(files: Layout, artifacts: Mapping[MapKey, Artifact]) -> set[MapKey]:
    """Return which of these maps are finished, by one look into their folder."""
    written = set(files_below(files.maps, ".manifest.json"))
    return {key for key, artifact in artifacts.items() if resolve(artifact.manifest)[1] in written}


class GroupProgress:
    """Says how far one group of maps is: iteration, error, iterations per second, time left."""

    def __init__(self, title: str, start: int, iterations: int) -> None:
        self.title, self.start, self.iterations = title, start, iterations
        self.begin = self.last = time.monotonic()
        if start:
            say("fit", f"{title}: goes on from iteration {start}")

    def show(self, fits: AdamFits) -> None:
        """Say how far the group is, unless that was said less than ten seconds ago."""
        now = time.monotonic()
        if now - self.last < SECONDS:
            return
        self.last = now
        rate = (fits.iteration - self.start) / (now - self.begin)
        left = (self.iterations - fits.iteration) / rate
        say(
            "fit",
            f"{self.title}: iteration {fits.iteration} of {self.iterations}, E {fits.last_error():.4f}, "
            f"{rate:.0f} iterations/s, {left:.0f} s left",
        )


class MapProgress:
    """While it is entered, says every ten seconds how many of these maps are finished, maps a minute, and time left."""

    def __init__(self, files: Layout, artifacts: Mapping[MapKey, Artifact]) -> None:
        self.files, self.artifacts = files, artifacts
        self.begin, self.ended = time.monotonic(), threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> MapProgress:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def _run(self) -> None:
        while not self.ended.wait(SECONDS):
            try:
                done = len(finished_maps(self.files, self.artifacts))
            except StorageError:  # the store may answer the next time, and the fits go on without this line
                continue
            if not done:
                continue
            a_minute = 60 * done / (time.monotonic() - self.begin)
            left = (len(self.artifacts) - done) / a_minute
            say("fit", f"{done} of {len(self.artifacts)} maps, {a_minute:.0f} maps/min, {left:.1f} min left")
