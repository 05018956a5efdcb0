"""Where torch computes: the GPU that this process was given, else the CPU."""

from __future__ import annotations

import ctypes
import os
import sys

import torch

NO_MAPPED_CHUNKS, NO_TRIMMING = (-4, 0), (-1, -1)  # M_MMAP_MAX and M_TRIM_THRESHOLD, as malloc.h numbers them


def best_device() -> torch.device:
    """The GPU where torch can use one. A GPU that was given but can't be used is told of: the CPU is far slower."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if given and given != "-1":
        print(
            f"warning: this process was given GPU {given}, but torch can't use it: computing on the CPU",
            file=sys.stderr,
        )
    return torch.device("cpu")


def compute_on_cpu(threads: int) -> None:
    """Prepare this process for torch on `threads` cores: it keeps the memory of freed tensors for the next ones."""
    torch.set_num_threads(threads)
    keep_freed_memory()


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep what is freed; False where another C library has no such setting.

    It gives each tensor above 32 MiB back to the system at once, and the next one's pages are mapped and cleared again,
    one fault per 4 KiB: nearly half of a network's time on a CPU. The process stays as large as it ever was
    (16 images in two EfficientNet-Lites: 1.5 GB instead of 1.3). It holds for the main thread alone: others'
    memory lies in arenas of 64 MiB, whatever doesn't fit there is mapped. Source: mallopt(3), M_MMAP_MAX and
    M_TRIM_THRESHOLD; glibc's arena.c.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and all(mallopt(*setting) for setting in (NO_MAPPED_CHUNKS, NO_TRIMMING))
