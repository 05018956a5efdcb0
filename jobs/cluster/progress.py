"""How far a stage is: a line every ten seconds in a log, one live bar on a terminal."""

from __future__ import annotations

import _thread
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import ray
from tqdm import tqdm

from jobs.cluster.runs import is_silent, say
from lib.errors import RunError, StorageError

PATIENCE = 3600.0  # seconds without progress, after which a run is given up, unless the command line says otherwise
END = 60.0  # seconds in which a run that is given up must end
SECONDS = 10.0  # between two lines
LOOK = 0.5  # seconds between two looks


_patience = PATIENCE


def set_patience(seconds: float) -> None:
    """Give a run up after so many seconds without progress, from now on."""
    global _patience  # what the command line asks for holds for the whole process
    _patience = seconds


class Progress:
    """While it is entered, shows how much is done of all, how fast, and how much time is left.

    `count` returns how much of `total` is done, or None if nobody knows just now. `start` was done before. `lines`
    returns what else there is to say, such as what workers report, `last` what is left to say at the end, and `waits`
    what the work waits for. A thread of the driver asks them.

    If neither `count` nor `lines` has anything new for as long as the run's patience, the body is interrupted, and
    RunError says what is waited for.
    """

    def __init__(
        self,
        stage: str,
        what: str,
        total: int,
        count: Callable[[], int | None],
        start: int = 0,
        lines: Callable[[], list[str]] = list,
        last: Callable[[], list[str]] = list,
        waits: Callable[[], str] = str,
    ) -> None:
        self.last, self.waits = last, waits
        self.stage, self.what, self.total, self.count, self.start, self.lines = stage, what, total, count, start, lines
        self.begin, self.said, self.ended = time.monotonic(), time.monotonic(), threading.Event()
        self.bar: tqdm[Any] | None = None
        self.done, self.moved, self.stalled = start, self.begin, ""
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Progress:
        if sys.stderr.isatty() and not is_silent():
            self.bar = tqdm(total=self.total, initial=self.start, desc=self.stage, unit=f" {self.what}", leave=False)
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.ended.set()
        self.thread.join()
        if self.bar is not None:
            self.bar.close()
        with suppress(ray.exceptions.RayError):
            for line in self.last():
                say(self.stage, line)
        if self.stalled and kind is KeyboardInterrupt:
            raise RunError(self.stalled)

    def _run(self) -> None:
        while not self.ended.wait(LOOK):
            with suppress(StorageError, ray.exceptions.RayError):  # the store, or who counts, may answer next time
                self._look()
            if time.monotonic() - self.moved > _patience and not self._has_moved():
                self._give_up()
                return

    def _has_moved(self) -> bool:
        """Ask how much is done, and return whether that is something new."""
        done: int | None = None
        with suppress(StorageError, ray.exceptions.RayError):
            done = self.count()
        if done is None or done == self.done:
            return False
        self.done, self.moved = done, time.monotonic()
        return True

    def _give_up(self) -> None:
        """Interrupt the body, and end the process if that takes too long."""
        done = f"{self.done:,} of {self.total:,} {self.what}"
        with suppress(StorageError, ray.exceptions.RayError):
            done += f" ({waits})" if (waits := self.waits()) else ""
        self.stalled = waited_for(self.stage, done, self.moved)
        _thread.interrupt_main()
        if not self.ended.wait(END):
            print(f"error: {self.stalled}", file=sys.stderr, flush=True)
            os._exit(1)

    def _look(self) -> None:
        """Show how far the stage is."""
        due = time.monotonic() - self.said >= SECONDS
        if self.bar is None and not due:
            return
        for line in self.lines() if due else ():
            self.moved = time.monotonic()
            self._say(line)
        done = self.count()
        if done is not None and done != self.done:
            self.done, self.moved = done, time.monotonic()
        if due:
            self.said = time.monotonic()
        waits = self.waits() if done is not None else ""
        if waits and done == self.start:
            self.begin = time.monotonic()  # a rate that counts the start's time makes a wrong time left
        if self.bar is not None and done is not None:
            self.bar.set_postfix_str(waits, refresh=False)
            self.bar.update(done - self.bar.n)
            self.bar.refresh()
        elif done is not None:
            line = self.line(done, time.monotonic() - self.begin)
            say(self.stage, f"{line}; {waits}" if waits else line)

    def _say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        if self.bar is None:
            say(self.stage, line)
        else:
            self.bar.write(f"[{self.stage}] {line}")

    def line(self, done: int, seconds: float) -> str:
        """Return how far the stage is after so many seconds."""
        rate = (done - self.start) / max(seconds, 1e-9)
        text = f"{done:,} of {self.total:,} {self.what}"
        if rate <= 0:
            return text
        speed = f"{rate:,.0f} {self.what}/s" if rate >= 10 else f"{60 * rate:,.0f} {self.what}/min"
        return f"{text}, {speed}, {time_left((self.total - done) / rate)} left"


def waited_for(stage: str, done: str, since: float) -> str:
    """Return what a stage waits for that has made no progress since a time of the monotonic clock."""
    has, free = ray.cluster_resources(), ray.available_resources()
    resources = ", ".join(f"{free.get(name, 0):g} of {has[name]:g} {name}s" for name in ("CPU", "GPU") if has.get(name))
    return (
        f"{stage}: no progress for {time_left(time.monotonic() - since)}: it waits for Ray's tasks, {done} are done. "
        f"Free are {resources or 'no machines'}: if all are taken, a task hangs or works very long (`ray stack` on its "
        "machine shows where); if some are free, no machine has what a task asks for (`ray status` shows what). "
        "--give-up-after waits longer. What is finished is kept: the same command goes on from there"
    )


def time_left(seconds: float) -> str:
    """Return a time in the unit that reads best."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 110 * 60 else f"{seconds / 3600:.1f} h"


def wait_for(stage: str, what: str, tasks: Sequence[ray.ObjectRef]) -> list[Any]:
    """Return what the tasks return, and show how many have ended. Raises what a task raises, as soon as it fails."""
    found: dict[ray.ObjectRef, Any] = {}
    left = list(tasks)
    with Progress(stage, what, len(tasks), lambda: len(found)):
        while left:
            ended, left = ray.wait(left, num_returns=len(left), timeout=LOOK)
            found |= dict(zip(ended, ray.get(ended), strict=True))
    return [found[task] for task in tasks]
