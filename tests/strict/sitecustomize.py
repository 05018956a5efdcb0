"""In each process whose PYTHONPATH has this folder, a deprecation that the project's own code causes is an error.

Ray names the line that called what is deprecated, in the driver as in workers. What other packages call is theirs.
"""

from __future__ import annotations

import warnings
from pathlib import Path

PROJECT = Path(__file__).parents[2]
OURS = (f"{PROJECT}/jobs/", f"{PROJECT}/lib/")


def refuse(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
    """Stand in for warnings.showwarning."""
    if issubclass(category, DeprecationWarning | PendingDeprecationWarning) and filename.startswith(OURS):
        raise category(f"{filename}:{lineno}: {message}")


warnings.simplefilter("always", DeprecationWarning)
warnings.simplefilter("always", PendingDeprecationWarning)
warnings.showwarning = refuse  # whatever filters packages set when they are imported
