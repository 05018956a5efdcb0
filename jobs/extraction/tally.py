"""Count how often images were computed, over all runs of an extraction: what an interruption cost. In this run, count
what passes each step, and how often each piece of work was tried.

This module imports no torch, since the tally is a process of its own, which would then start with that.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import ray

from jobs.extraction.flow import COMPUTED
from lib.storage.files import is_file, read_json, write_json

SECONDS = 2.0  # between two writes; what a killed run computed after the last write is not counted


def start_tally(files: dict[str, str]) -> ray.actor.ActorHandle:
    """Start a Tally as an actor. If its node is lost, it starts again from its files."""
    actor: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=3)(Tally)
    return actor.remote(files)


class Tally:
    """Count each split's computed images, in memory and in a file for each split that outlives the run."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files, self.written = files, 0.0
        self.counts = Counter({split: read_tally(file) for split, file in files.items()})
        self.passed: Counter[str] = Counter()
        self.tried: Counter[str] = Counter()

    def begin(self, work: str) -> int:
        """Note that some work begins, and return how often it began since it last ended: more than once, a process
        died of it, or with it.
        """
        self.tried[work] += 1
        return self.tried[work]

    def end(self, *works: str) -> None:
        """Note that some works have ended."""
        for work in works:
            self.tried.pop(work, None)

    def add(self, counts: Counter[str]) -> None:
        """Add images of each split, and write the files now and then."""
        self.counts += counts
        self.passed[COMPUTED] += counts.total()
        if time.monotonic() - self.written > SECONDS:
            self.write()

    def count(self, step: str, number: int) -> None:
        """Add what passed a step of jobs.extraction.flow."""
        self.passed[step] += number

    def flow(self) -> dict[str, int]:
        """Return what passed each step since this actor started."""
        return dict(self.passed)

    def write(self) -> None:
        """Write the files."""
        for split, file in self.files.items():
            write_json(file, {"computed": self.counts[split]})
        self.written = time.monotonic()


def read_tally(file: str) -> int:
    """Return how many images all runs so far have computed."""
    return int(read_json(file)["computed"]) if is_file(file) else 0
