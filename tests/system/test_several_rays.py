"""A run beside another's Ray on the same machine, as on a lab's server: each keeps to its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import PROJECT
from runs import command

pytestmark = pytest.mark.slow
# Another's Ray, which says what it consists of when it is asked to end.
OTHER = """
import json, ray, sys
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps([len(ray.nodes()), ray.cluster_resources()["CPU"], len(ray.util.list_named_actors(True))]), flush=True)
"""
ALONE = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


@pytest.fixture
def other() -> Iterator["subprocess.Popen[str]"]:
    """The process of another's Ray, once it is there."""
    program = [sys.executable, "-c", OTHER]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ALONE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


def test_a_fit_beside_anothers_ray_is_silent_and_leaves_it_alone(
    experiment: Path, tmp_path: Path, other: "subprocess.Popen[str]"
) -> None:
    """All that Ray and its workers say is on the console, by --verbose: nothing of another cluster, no traceback."""
    done = subprocess.run(
        [*command(experiment, tmp_path, "fit.learning_curve=false", "fit.ranks=[2]"), "--verbose"],
        cwd=PROJECT, capture_output=True, text=True, env=ALONE,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-5000:]
    assert "TrainController" in said, "what Ray's workers say is heard"
    for word in ("Traceback", "PlacementGroupCleaner", "multiple active Ray instances"):
        assert word not in said
    answer, _ = other.communicate("\n", timeout=60)
    assert answer == "[1, 1.0, 0]\n", "one node with its one CPU, and nobody's actors"
    assert other.returncode == 0
