"""Settings of glibc's malloc, so that networks on a CPU reuse the memory of freed tensors. This module imports no
torch.
"""

from __future__ import annotations

import ctypes
import sys

NO_MAPPED_CHUNKS, NO_TRIMMING = (-4, 0), (-1, -1)  # M_MMAP_MAX and M_TRIM_THRESHOLD, as malloc.h numbers them
# The environment to start a process with whose threads compute: they then allocate from the main thread's heap.
# Else each has an arena of pieces of 64 MiB, and larger tensors are mapped anew. Source: mallopt(3), M_ARENA_MAX.
ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep what is freed. Return False if another C library has no such setting.

    By default it returns each tensor above 32 MiB to the system at once. The next tensor's pages are then mapped and
    cleared again, one fault for each 4 KiB, which takes nearly half of a network's time on a CPU. With this setting the
    process stays as large as it ever was. The setting holds for the main heap alone: the main thread's, and with
    ONE_HEAP all threads'. Source: mallopt(3), M_MMAP_MAX and M_TRIM_THRESHOLD; glibc's arena.c.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and all(mallopt(*setting) for setting in (NO_MAPPED_CHUNKS, NO_TRIMMING))
