"""A home folder for processes whose user has none, as in containers with a user that the image does not know."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path


def provide_home() -> None:
    """Set HOME to a folder below the temporary one if the user has no home, which Ray Train asks for when imported.

    If there is a home that cannot be written, Ray could not keep its token there, so it gets one for this run alone.
    Processes that this one starts inherit both.
    """
    try:
        home = Path.home()
        home.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, OSError):
        home = Path(tempfile.gettempdir(), f"home-of-{os.getuid()}")
        home.mkdir(mode=0o700, exist_ok=True)
        os.environ["HOME"] = str(home)
    if not writable(home) and not (home / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def writable(folder: Path) -> bool:
    """Return whether a file can be made in a folder."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
