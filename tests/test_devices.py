"""What a process is told before torch computes in it."""

import subprocess
import sys

import pytest

ROUNDS = """
import resource, sys, torch
from lib.devices import compute_on_cpu
if sys.argv[1] == "kept":
    compute_on_cpu(1)
def compute():
    images = torch.ones(8, 16, 256, 256)  # 32 MiB
    for _ in range(4):
        images = images * 2
    return float(images[0, 0, 0, 0])
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    assert compute() == 16
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_the_memory_of_freed_tensors_is_there_for_the_next_ones() -> None:
    """Without, the pages of each tensor are mapped anew."""
    plain, kept = (subprocess.check_output([sys.executable, "-c", ROUNDS, how]) for how in ("plain", "kept"))
    assert int(kept) < int(plain) / 4  # the first rounds' pages, till the freed pieces fit
