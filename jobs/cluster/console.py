"""What a person sees: the project's own lines. What Ray and its workers say is in files, unless it is asked for."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

LOGS: list[Path] = []  # the folder of Ray's log files, once it is known and quiet


def keep_ray_quiet(session: str | None) -> None:
    """Keep Ray's words from the console. They are in the log files of `session`, Ray's folder on this machine.

    Where there is no such folder, as with a cluster elsewhere, this process's part goes to the temporary folder.
    """
    for name in ("ray", "ray.data", "ray.train"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.CRITICAL)
    logs = Path(session or "") / "logs"
    folder = logs if session and logs.is_dir() else Path(tempfile.gettempdir())
    divert_native_output(folder / f"driver-{os.getpid()}.err")
    LOGS.append(folder)


def divert_native_output(file: Path) -> None:
    """Send what C++ code of this process writes to standard error into a file. Python's stays where it is."""
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    written = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(written, 2)
    os.close(written)
