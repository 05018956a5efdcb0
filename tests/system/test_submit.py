"""Jobs submitted to a running head that wants a token, as to a cluster: stopped, gone on with, refused."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import heads
import pytest
from heads import Head, wait_until
from ports import listening
from processes import descendants
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


def test_on_kubernetes_a_bad_experiment_stops_its_job(head: Head, experiment: Path) -> None:
    """rayjob.yaml's entrypoint: KubeRay makes new clusters for FAILED jobs, and none for STOPPED ones."""
    line = ("python", "-m", "jobs.pipeline", str(experiment), "--set", "fit.iterations=0")
    entrypoint = str(PROJECT / "jobs" / "cluster" / "entrypoint.sh")  # in an image, not in an upload
    options = ("--submission-id", "bad", "--working-dir", ".")
    head.job("submit", *options, "--", "bash", entrypoint, "bad", *line)
    log = head.job("logs", "bad").stdout.decode()
    assert json.loads(head.ask("/api/jobs/bad"))["status"] == "STOPPED", log
    assert "fit.iterations: Input should be greater than or equal to 1" in log
    assert "The experiment is bad (exit code 2), so this RayJob is stopped" in log
    assert not [line for line in head.processes().values() if "entrypoint.sh" in line]


SMALL = (
    "demo.train_pictures=300", "demo.val_pictures=120", "demo.epochs=1", "fit.iterations=200", "fit.seeds=1",
    'fit.families=["affine", "least_squares"]', "fit.ranks=[2]",
)  # fmt: skip
PLANTED = "pLaNtEd"
SECRETS = {
    name: f"{PLANTED}-{name.lower()}"
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "DATABASE_URL", "SOME_PASSWORD")
}


@dataclass(frozen=True)
class Local:
    """What a run of the demo, small, left on this machine beside another's head."""

    code: int
    said: str
    ports: set[tuple[IPv4Address | IPv6Address, int]]  # on which its processes listened
    root: Path
    ray: Path  # Ray's own files
    home: Path


@pytest.fixture(scope="module")
def local(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """With deprecations as errors, secrets in its environment, and before it a refused one with a secret in a URI."""
    root, home = tmp_path_factory.mktemp("local"), tmp_path_factory.mktemp("home")
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # short: names of sockets end at 107 characters
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | SECRETS
    environment |= {"RAY_TMPDIR": str(folder), "HOME": str(home), "PYTHONPATH": str(PROJECT / "tests" / "strict")}
    bad = [*command_line("demo", root, *SMALL), "--set", f"images.train=s3://key:{PLANTED}@bucket/x"]
    refused = subprocess.run(bad, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert refused.returncode == 2, refused.stderr
    ports = set()
    with (root / "console.txt").open("w") as console:
        process = subprocess.Popen(
            command_line("demo", root, *SMALL), cwd=PROJECT, env=environment, stdout=console, stderr=console
        )
        while process.poll() is None:
            ports |= listening({process.pid, *descendants(process.pid)})
            time.sleep(2)
    said = refused.stdout + refused.stderr + (root / "console.txt").read_text()
    yield Local(process.returncode, said, ports, root, folder, home)
    shutil.rmtree(folder)


@pytest.mark.timeout(2400)
def test_a_run_without_an_address_has_a_ray_of_its_own(local: Local) -> None:
    """Beside the head; Ray Train's helpers find the run's own Ray. No code of ours calls what is deprecated."""
    assert local.code == 0, local.said
    assert re.search(r"E [01]\.\d+ after 200 iterations", local.said)
    for words in ("multiple active Ray", "Traceback", "Connecting to existing Ray", "Warning"):
        assert words not in local.said


def test_a_local_run_listens_on_loopback_alone(local: Local) -> None:
    """Workers that fit maps alone do not meet at a port of torch's, which would be on all interfaces."""
    assert len(local.ports) > 5
    assert not [address for address, _ in local.ports if not address.is_loopback]


def test_a_local_runs_token_is_its_users_alone(local: Local) -> None:
    assert (local.home / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600


def test_nothing_of_the_environment_is_written(local: Local) -> None:
    """Neither into results, pages and logs, nor into Ray's own files; the token, too, is in no result."""
    token = (local.home / ".ray" / "auth_token").read_text()
    written = [path for folder in (local.root, local.ray) for path in folder.rglob("*") if path.is_file()]
    assert {"results.json", "report.html", "console.txt", "manifest.json"} <= {path.name for path in written}
    assert [path for path in written if path.suffix in {".log", ".err", ".out"}]
    for path in written:
        content = path.read_bytes()
        assert PLANTED.encode() not in content, path
        assert token.encode() not in content, path
    assert PLANTED not in local.said


def test_a_deprecation_that_our_code_causes_is_an_error() -> None:
    """So that the run above can find one."""
    line = "import warnings; warnings.warn_explicit('old', DeprecationWarning, {file!r}, 1)"
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "tests" / "strict")}
    for file, code in ((str(PROJECT / "jobs" / "fit.py"), 1), ("/usr/lib/ray/data.py", 0)):
        done = subprocess.run([sys.executable, "-c", line.format(file=file)], env=environment, capture_output=True)
        assert done.returncode == code, done.stderr
