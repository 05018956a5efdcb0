"""Jobs submitted to a running head that wants a token, as to a cluster: stopped, gone on with, refused."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
TOKEN = "0123456789abcdef" * 2
# Ray's own that stay when a job is over; all other ray:: processes compute for one.
SERVICES = {"DashboardAgent", "RuntimeEnvAgent", "ActorLocationTracker", "_StatsActor", "_AutoscalingCoordinatorActor"}


@dataclass(frozen=True)
class Head:
    address: str
    session: int  # of its processes and its workers'
    environment: dict[str, str]

    def job(self, command: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """`ray job COMMAND`; bytes, since text would hide carriage returns."""
        return subprocess.run(
            [*RAY, "job", command, "--address", self.address, *arguments],
            cwd=PROJECT, env=self.environment, capture_output=True,
        )  # fmt: skip

    def submit(self, *arguments: str, wait: bool = True) -> subprocess.CompletedProcess[bytes]:
        options = ["--working-dir", "."] if wait else ["--working-dir", ".", "--no-wait", "--submission-id", "first"]
        return self.job("submit", *options, "--", "python", "-m", "jobs.pipeline", *arguments)

    def ask(self, path: str, token: str | None = TOKEN) -> bytes:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with urllib.request.urlopen(urllib.request.Request(self.address + path, headers=headers)) as answer:
            return bytes(answer.read())

    def computing(self) -> set[str]:
        """Names of the worker processes that are neither Ray's services nor idle."""
        lines = subprocess.run(["ps", "-eo", "sid=,args="], capture_output=True, text=True).stdout.splitlines()
        names = {line.split()[1] for line in lines if line.split()[0] == str(self.session) and "ray::" in line}
        return {name.removeprefix("ray::") for name in names} - SERVICES - {"IDLE"}


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_until(condition: Callable[[], object], seconds: float, what: Callable[[], str]) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not in {seconds} s: {what()}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head of its own: ports, temporary folder and token shared with no other Ray on this machine."""
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # short: names of sockets end at 107 characters
    (folder / "token").write_text(TOKEN)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTHONPATH"))}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    names = (
        "port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port",
        "metrics-export-port", "object-manager-port", "node-manager-port", "ray-client-server-port",
    )  # fmt: skip
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    # Ray Train's watchers look for "the" Ray of the machine, and die where there are several: tell them which.
    own = {"RAY_ADDRESS": f"127.0.0.1:{ports['port']}"}
    with (folder / "head.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *RAY, "start", "--head", "--block", "--num-cpus=2", "--num-gpus=0", "--object-store-memory=200000000",
                "--node-ip-address=127.0.0.1",
                f"--temp-dir={folder}", f"--object-spilling-directory={folder}/spill", "--disable-usage-stats",
                "--min-worker-port=0", "--max-worker-port=0", *(f"--{name}={port}" for name, port in ports.items()),
            ],
            env=environment | own, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    head = Head(f"http://127.0.0.1:{ports['dashboard-port']}", process.pid, environment)

    def ready() -> bool:
        assert process.poll() is None, (folder / "head.log").read_text()
        try:
            return bool(head.ask("/api/version"))
        except OSError:
            return False

    try:
        wait_until(ready, 240, lambda: (folder / "head.log").read_text())
        yield head
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)  # by itself it takes 30 s
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def command(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    settings = ("--set", "fit.iterations=2000", "--set", "fit.checkpoint_every=200")
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
    folder = Path(command[2]) / "tiny"
    checkpoints = "train/*/checkpoint_*/fit.pt"
    wait_until(lambda: list(folder.glob(checkpoints)), 900, lambda: head.job("logs", first).stdout.decode())
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
    assert "[extract] train: features of a, b are finished, skipped" in log
    assert re.search(r"\[fit\] [ab] -> [ab]: goes on from iteration [1-9]", log)
    assert "| features → classifier" in log
    whole = head.job("logs", first).stdout + again.stdout + again.stderr
    assert b"[extract] val: 48 extracted" in whole
    assert b"\r" not in whole
    assert not re.search(r"\d%\||[█▏━]|Total Progress", whole.decode()), "progress bars, or Ray's pages instead of them"
