"""What the driver of an extraction holds does not grow with the images: its real code, over images of no files."""

import json
import os
import subprocess
import sys

import pytest
from project import PROJECT

pytestmark = pytest.mark.slow


def driver(images: int, parts: int, round_: int) -> dict:
    """What tests/many_images.py says of its memory (MB) and time."""
    command = [sys.executable, str(PROJECT / "tests" / "many_images.py"), str(images), str(parts), str(round_)]
    paths = os.pathsep.join([str(PROJECT), str(PROJECT / "tests")])
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, env=environment, timeout=1000)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_many_listed_images_cost_the_driver_little() -> None:
    few, many = driver(50_000, 48, 8192), driver(5_000_000, 240, 48)
    print(few, many)
    assert many["extracted"] == 5 * few["extracted"]
    assert many["before_MB"] - few["before_MB"] < 50, "a plan of 5 million images"
    assert many["peak_MB"] - few["peak_MB"] < 150
    starts = many["streams_MB"]
    assert len(starts) == 5
    assert starts[-1] - starts[1] < 30, "what one stream remembered is gone when the next one begins"
