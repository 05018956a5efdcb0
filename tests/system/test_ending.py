"""A command's process ends within seconds and with its own exit code, whatever its threads or Ray do."""

import os
import subprocess
import sys
import time

import pytest
from processes import descendants, wait_for_the_end
from project import PROJECT

PROGRAM = """
import sys, threading, time
import ray
from jobs.cluster import ending
from jobs.cluster.ending import end

class Ray:
    is_initialized = staticmethod(lambda: True)
    shutdown = staticmethod(lambda: {shutdown})

ending.ray, ending.PATIENCE = Ray, 2.0
threading.Thread(target=time.sleep, args=(600,)).start()
{early}
print("the last line")
end({code})
"""


@pytest.mark.parametrize("shutdown", ["None", "time.sleep(600)"])
@pytest.mark.parametrize(("code", "early"), [(0, ""), (1, ""), (2, ""), (1, "ending.end_ray_meanwhile()")])
def test_neither_threads_nor_a_ray_that_hangs_hold_it(shutdown: str, code: int, early: str) -> None:
    begin = time.monotonic()
    program = PROGRAM.format(shutdown=shutdown, code=code, early=early)
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert done.stdout == "the last line\n"
    assert time.monotonic() - begin < 60


def test_a_last_line_that_cannot_be_written_is_a_failure() -> None:
    program = PROGRAM.format(shutdown="None", code=0, early="")
    with open("/dev/full", "w") as full:
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, stdout=full, timeout=120, env=buffered)
    assert done.returncode == 1


RAY = """
import ray, time
from jobs.cluster import ending
from jobs.cluster.starting import start_ray
start_ray(None)
print("started", flush=True)
input()
"""

EARLY = """
ending.end_ray_meanwhile()
print("drawn", flush=True)
ending.end(0)
"""

LEFT = """
ending.PATIENCE = 1.0
ray.shutdown = lambda: time.sleep(600)
ending.end(1)
"""


@pytest.mark.parametrize(
    ("rest", "code", "printed"),
    [pytest.param(EARLY, 0, "drawn\n", id="early"), pytest.param(LEFT, 1, "", id="left", marks=pytest.mark.slow)],
)
def test_rays_processes_end_with_it(rest: str, code: int, printed: str) -> None:
    """Also if Ray begins to end while the command goes on, and if it never does."""
    with subprocess.Popen(
        [sys.executable, "-c", RAY + rest], cwd=PROJECT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        started = descendants(process.pid)
        assert started
        begin = time.monotonic()
        output, _ = process.communicate("\n", timeout=60)
        assert (process.returncode, output) == (code, printed)
    wait_for_the_end(started)
    assert time.monotonic() - begin < 120
