"""A Ray head of a test's own, as `ray start --head` makes one: its ports, folder and token are no other's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import descendants, kill, wait_for_the_end
from project import PROJECT

RAY = [sys.executable, "-m", "ray.scripts.scripts"]
TOKEN = "0123456789abcdef" * 2
# Ray's own that stay when a job is over; all other ray:: processes compute for one.
SERVICES = {"DashboardAgent", "RuntimeEnvAgent", "ActorLocationTracker", "_StatsActor", "_AutoscalingCoordinatorActor"}
PORTS = (
    "port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port",
    "metrics-export-port", "object-manager-port", "node-manager-port", "ray-client-server-port",
)  # fmt: skip


@dataclass(frozen=True)
class Head:
    gcs: str  # HOST:PORT, for ray.init and --address
    address: str  # of its dashboard, for `ray job`
    session: int  # of its processes and its workers'
    environment: dict[str, str]

    def job(self, command: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """`ray job COMMAND`; bytes, since text would hide carriage returns."""
        return subprocess.run(
            [*RAY, "job", command, "--address", self.address, *arguments],
            cwd=PROJECT, env=self.environment, capture_output=True,
        )  # fmt: skip

    def submit(self, *arguments: str, stage: str = "pipeline", wait: bool = True) -> subprocess.CompletedProcess[bytes]:
        options = ["--working-dir", "."] if wait else ["--working-dir", ".", "--no-wait", "--submission-id", "first"]
        end = time.monotonic() + 120
        while True:
            done = self.job("submit", *options, "--", "python", "-m", f"jobs.{stage}", *arguments)
            if b"No available agent" not in done.stderr or time.monotonic() > end:  # which starts after the dashboard
                return done

    def run(self, stage: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A stage's command as one types it on the head."""
        return subprocess.run(
            [sys.executable, "-m", f"jobs.{stage}", *arguments],
            cwd=PROJECT, env=self.environment | {"RAY_ADDRESS": self.gcs}, capture_output=True, text=True,
        )  # fmt: skip

    def ask(self, path: str, token: str | None = TOKEN) -> bytes:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with urllib.request.urlopen(urllib.request.Request(self.address + path, headers=headers)) as answer:
            return bytes(answer.read())

    def nodes(self) -> list[dict[str, Any]]:
        """Those alive: their resources by name."""
        listed = json.loads(self.ask("/nodes?view=summary"))["data"]
        alive = [node for node in listed["summary"] if node["raylet"].get("state") == "ALIVE"]
        return [node["raylet"]["resourcesTotal"] for node in alive]

    def processes(self) -> dict[int, str]:
        """Command lines of all of its processes by id."""
        lines = subprocess.run(["ps", "-wweo", "sid=,stat=,pid=,args="], capture_output=True, text=True).stdout
        rows = [line.split() for line in lines.splitlines()]
        running = [row for row in rows if row[0] == str(self.session) and not row[1].startswith("Z")]
        return {int(pid): " ".join(line) for _, _, pid, *line in running}

    def lose(self) -> None:
        """Kill all of its processes and those of the jobs that it runs, as if its machine were gone."""
        while own := set(self.processes()):
            everything = own | descendants(*own)  # a job's driver has a session of its own
            kill(everything)
            wait_for_the_end(everything)

    def computing(self) -> set[str]:
        """Names of the worker processes that are neither Ray's services nor idle."""
        names = {line.partition(" ")[0] for line in self.processes().values() if "ray::" in line}
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


FAKE_ID = "f" * 51 + "00000"
FAKE = {
    "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": FAKE_ID, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_ID,
}  # fmt: skip
FAKE_PROVIDER = {
    "use_node_id_as_ip": True, "disable_node_updaters": True, "disable_launch_config_check": True,
    "type": "external", "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
    "launch_multiple": True,
}  # fmt: skip
SECTIONS = (
    "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
    "head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude", "rsync_filter",
)  # fmt: skip


def fake_nodes(gcs: str, head: dict[str, float], workers: dict[str, dict[str, Any]], idle_minutes: float) -> Any:
    """A cluster's configuration whose nodes are processes on this machine (Ray's fake multi-node provider)."""
    types = {"ray.head.default": {"resources": head, "node_config": {}, "max_workers": 0}}
    types |= {name: {"node_config": {}, "min_workers": 0, **worker} for name, worker in workers.items()}
    return {
        "cluster_name": "fake",
        "provider": {"gcs_address": gcs, "head_node_id": FAKE_ID, **FAKE_PROVIDER},
        "max_workers": sum(worker["max_workers"] for worker in workers.values()),
        "idle_timeout_minutes": idle_minutes,
        "available_node_types": types,
        "head_node_type": "ray.head.default",
        **{"auth": {}, "docker": {}, "file_mounts": {}, "file_mounts_sync_continuously": False},
        **{section: [] for section in SECTIONS},
    }


@contextmanager
def head(*options: str, grows: Callable[[str], Any] | None = None) -> Iterator[Head]:
    """A head that runs until the end of the block, with these options of `ray start`.

    `grows` makes an autoscaling cluster's configuration from the head's address.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # short: names of sockets end at 107 characters
    (folder / "token").write_text(TOKEN)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTHONPATH"))}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    # Ray Train's watchers look for "the" Ray of the machine, and die where there are several: tell them which.
    own = {"RAY_ADDRESS": f"127.0.0.1:{ports['port']}"}
    if grows is not None:
        (folder / "cluster.json").write_text(json.dumps(grows(own["RAY_ADDRESS"])))
        options = (*options, f"--autoscaling-config={folder}/cluster.json")
        own |= FAKE
    with (folder / "head.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *RAY, "start", "--head", "--block", *options,
                "--node-ip-address=127.0.0.1",
                f"--temp-dir={folder}", f"--object-spilling-directory={folder}/spill", "--disable-usage-stats",
                "--min-worker-port=0", "--max-worker-port=0", *(f"--{name}={port}" for name, port in ports.items()),
            ],
            env=environment | own, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    started = Head(own["RAY_ADDRESS"], f"http://127.0.0.1:{ports['dashboard-port']}", process.pid, environment)

    def ready() -> bool:
        assert process.poll() is None, (folder / "head.log").read_text()
        try:
            return bool(started.ask("/api/version"))
        except OSError:
            return False

    try:
        wait_until(ready, 240, lambda: (folder / "head.log").read_text())
        yield started
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)  # by itself it takes 30 s
        kill(started.processes())  # whatever group they are in
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
