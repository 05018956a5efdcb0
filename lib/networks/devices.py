"""Where torch computes: on the GPU that this process was given, else on the CPU."""

from __future__ import annotations

import os
import sys

import torch

from lib.networks.memory import keep_freed_memory


def best_device() -> torch.device:
    """Return the GPU if torch can use one, else the CPU. Warn if a GPU was assigned but torch cannot use it."""
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
