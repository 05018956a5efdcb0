"""Jobs submitted to a running head that wants a token, as to a cluster: stopped, gone on with, refused."""

import json
import os
import re
import subprocess
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import heads
import pytest
from heads import Head, wait_until
from project import PROJECT
from runs import check_maps
from runs import command as command_line

from jobs.cluster.runs import Run
from lib.experiment.loading import load_experiment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with heads.head("--num-cpus=2", "--num-gpus=0", "--object-store-memory=200000000") as started:
        yield started


@pytest.fixture(scope="module")
def command(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    settings = ("--set", "fit.iterations=20000", "--set", "fit.checkpoint_every=200")
    return (str(experiment), "--root", str(tmp_path_factory.mktemp("root")), *settings)


@pytest.fixture(scope="module", autouse=True)
def first(head: Head, command: tuple[str, ...]) -> str:
    """A job that computes from now on, while the other tests ask."""
    started = head.submit(*command, wait=False)
    assert started.returncode == 0, started.stderr.decode()
    return "first"


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("fedcba9876543210" * 2, 403)])
def test_nobody_gets_in_without_the_token(head: Head, token: str | None, status: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        head.ask("/api/jobs/", token)
    assert refused.value.code == status
    refused.value.close()
    assert json.loads(head.ask("/api/jobs/"))[0]["submission_id"] == "first"


def test_a_bad_experiment_fails_the_submission(head: Head, experiment: Path) -> None:
    bad = head.submit(str(experiment), "--set", "fit.iterations=0")
    assert bad.returncode != 0
    log = bad.stdout.decode() + bad.stderr.decode()
    assert "fit.iterations: Input should be greater than or equal to 1" in log
    assert "exit code 2" in log


@pytest.mark.timeout(2400)
def test_a_stopped_job_leaves_nothing_running_and_goes_on_when_submitted_again(
    head: Head, command: tuple[str, ...], first: str
) -> None:
    """Stopped while it fits; then the same command ends well, from the checkpoint, with a log fit for a file."""
    run = Run(load_experiment(command[0], list(command[4::2])), command[2])
    folder = Path(run.files.folder)

    def fits() -> bool:
        assert json.loads(head.ask(f"/api/jobs/{first}"))["status"] != "FAILED", head.job("logs", first).stdout.decode()
        return any(folder.glob("train/*.pt"))

    wait_until(fits, 900, lambda: head.job("logs", first).stdout.decode())
    assert "RayTrainWorker" in " ".join(head.computing())
    stopped = head.job("stop", first)
    assert stopped.returncode == 0, stopped.stderr.decode()
    assert json.loads(head.ask(f"/api/jobs/{first}"))["status"] == "STOPPED"
    wait_until(lambda: not head.computing(), 120, lambda: f"the end of {head.computing()}")
    processes = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True).stdout
    assert str(folder.parent) not in processes, "the job's driver"
    assert not (folder / "results.json").exists()

    again = head.submit(*command)
    log = again.stdout.decode() + again.stderr.decode()
    assert again.returncode == 0, log
    assert json.loads((folder / "results.json").read_bytes())["experiment"] == "tiny"
    check_maps(run)
    assert "[extract] train: features of a, b are finished, skipped" in log
    assert re.search(r"\[fit\] [ab] -> [ab]: goes on from iteration [1-9]", log)
    assert "features → classifier" in log
    whole = head.job("logs", first).stdout + again.stdout + again.stderr
    assert b"[extract] val: 48 extracted" in whole
    assert b"\r" not in whole
    assert not re.search(r"\d%\||[█▏━]|Total Progress", whole.decode()), "progress bars, or Ray's pages instead of them"


@pytest.mark.timeout(2400)
def test_a_run_without_an_address_has_a_ray_of_its_own(head: Head, experiment: Path, tmp_path: Path) -> None:
    """Beside the head; Ray Train's helpers find the run's own Ray."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    sets = ('fit.families=["affine"]', "fit.iterations=2000")
    done = subprocess.run(
        command_line(experiment, tmp_path, *sets), cwd=PROJECT, env=environment, capture_output=True, text=True
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "E 0." in said
    for words in ("multiple active Ray", "Traceback", "Connecting to existing Ray"):
        assert words not in said
