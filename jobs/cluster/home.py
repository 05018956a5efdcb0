"""A home folder for processes whose user has none, as in containers with a user that the image does not know."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def provide_home() -> None:
    """Set HOME to a folder below the temporary one if the user has no home, since Ray Train asks for it when imported.

    Processes that this one starts inherit it.
    """
    try:
        Path.home()
    except RuntimeError:
        home = Path(tempfile.gettempdir(), f"home-of-{os.getuid()}")
        home.mkdir(mode=0o700, exist_ok=True)
        os.environ["HOME"] = str(home)
