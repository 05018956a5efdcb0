"""What glibc's malloc is told, so that networks on a CPU find the memory of freed tensors again. No torch in here."""

from __future__ import annotations

import ctypes
import sys

NO_MAPPED_CHUNKS, NO_TRIMMING = (-4, 0), (-1, -1)  # M_MMAP_MAX and M_TRIM_THRESHOLD, as malloc.h numbers them
# The environment to start a process with whose threads compute: they then allocate from the main thread's heap.
# Else each has an arena of pieces of 64 MiB, and larger tensors are mapped anew. Source: mallopt(3), M_ARENA_MAX.
ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep what is freed; False where another C library has no such setting.

    It gives each tensor above 32 MiB back to the system at once, and the next one's pages are mapped and cleared again,
    one fault per 4 KiB: nearly half of a network's time on a CPU. The process stays as large as it ever was. It holds
    for the main heap alone: the main thread's, and with ONE_HEAP all threads'. Source: mallopt(3), M_MMAP_MAX and
    M_TRIM_THRESHOLD; glibc's arena.c.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and all(mallopt(*setting) for setting in (NO_MAPPED_CHUNKS, NO_TRIMMING))
