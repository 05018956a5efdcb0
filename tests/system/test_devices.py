"""What a process is told before torch computes in it."""

import os
import subprocess
import sys

import pytest

from lib.networks.memory import ONE_HEAP

pytestmark = pytest.mark.slow

ROUNDS = """
import resource, sys, torch
from concurrent.futures import ThreadPoolExecutor
from lib.networks.devices import compute_on_cpu
if sys.argv[1] == "kept":
    compute_on_cpu(1)
others = ThreadPoolExecutor(2)  # as Ray has some before the project's code runs
others.submit(bytes, 1000).result()
def compute():
    images = torch.ones(24, 16, 256, 256)  # 96 MiB
    for _ in range(4):
        images = images * 2
    return float(images[0, 0, 0, 0])
each = ThreadPoolExecutor(2).map if sys.argv[2] == "threads" else map
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
assert set(each(lambda _: compute(), range(40))) == {16}
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
@pytest.mark.parametrize("where", ["main", "threads"])
def test_the_memory_of_freed_tensors_is_there_for_the_next_ones(where: str) -> None:
    """Without, the pages of each tensor are mapped anew."""

    def faults(told: str, environment: dict[str, str]) -> int:
        command = [sys.executable, "-c", ROUNDS, told, where]
        return int(subprocess.check_output(command, env=os.environ | environment))

    kept = faults("kept", ONE_HEAP if where == "threads" else {})
    assert kept < faults("plain", {}) / 4  # the first rounds' pages, till the freed pieces fit
    if where == "threads":
        assert kept < faults("kept", {}) / 4, "threads' own arenas don't hold such tensors"
