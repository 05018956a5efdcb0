"""The end of a command: the process is gone within seconds, whatever its threads and Ray are doing."""

from __future__ import annotations

import os
import sys
import threading
from typing import NoReturn

import ray

PATIENCE = 10.0  # seconds that Ray has to end
FAILED = 1

_early: list[threading.Thread] = []  # that end Ray before the command ends


def end_ray_meanwhile() -> None:
    """Begin to end Ray, which takes more than a second; nothing that follows in this process may need it."""
    thread = threading.Thread(target=ray.shutdown, daemon=True)
    _early.append(thread)
    thread.start()


def end(code: int) -> NoReturn:
    """End Ray and this process with an exit code.

    Threads that wait for fits would hold a process that has failed, and native threads that still run may crash Python
    while it takes itself apart. So it ends at once, without that, when Ray has ended. If Ray does not, its processes on
    this machine end with this one.
    """
    if not ray.is_initialized() and not _early:
        sys.exit(code)
    if not flushed():
        code = code or FAILED
    overdue = threading.Timer(PATIENCE, os._exit, [code])
    overdue.daemon = True
    overdue.start()
    for thread in _early:
        thread.join()
    ray.shutdown()
    os._exit(code)


def flushed() -> bool:
    """Write out what was printed, and return whether that succeeded: what takes it may be a full disk."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return False
    return True
