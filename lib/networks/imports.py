"""Import large libraries without Python's garbage collector, or beside other work. This module imports none of them."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
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


@contextmanager
def meanwhile(import_some: Callable[[], None]) -> Iterator[None]:
    """Import libraries in a thread while the body works, and wait for them at its end.

    The body must not need torch, and the thread must not import it: other libraries look for torch.Tensor where they
    find "torch" among the modules, which breaks them while torch is half imported. So did scipy.stats.
    """
    thread = threading.Thread(target=import_some, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()
