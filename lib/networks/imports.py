"""Import large libraries without Python's garbage collector. This module imports none of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Within it, the collector rests; afterwards, it leaves alone all objects that there are by then.

    Torch and timm make some 900,000 objects that stay until the process ends. Looking for garbage among them takes a
    fifth of the seconds in which they are imported, and a second of a core at the process's end. Source: gc.freeze in
    Python's documentation.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
