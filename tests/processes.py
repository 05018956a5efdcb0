"""Processes of this machine: which ones a process started, and an end to all of them at once."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Collection
from contextlib import suppress


def processes() -> list[tuple[int, int]]:
    """(parent, process) of all that still run."""
    listed = subprocess.run(["ps", "-eo", "ppid=,pid=,stat="], capture_output=True, text=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [(int(parent), int(pid)) for parent, pid, state in rows if not state.startswith("Z")]


def descendants(*ancestors: int) -> set[int]:
    """The processes that these started, and those started."""
    listed, found, newest = processes(), set[int](), set(ancestors)
    while newest:
        newest = {pid for parent, pid in listed if parent in newest}
        found |= newest
    return found


def kill(chosen: Collection[int]) -> None:
    """As a machine that loses its power: none of them learns of it."""
    for pid in chosen:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_for_the_end(chosen: set[int]) -> None:
    """Until none of them runs: a worker writes on till it misses its raylet."""
    while chosen & {pid for _, pid in processes()}:
        time.sleep(0.05)
