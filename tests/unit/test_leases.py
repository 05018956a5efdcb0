"""One run at a time under a folder: others are refused, and a killed run's lease makes nobody wait on its machine."""

import json
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from project import PROJECT

from lib.errors import FolderInUse
from lib.storage.files import write_bytes
from lib.storage.leases import Holder, Lease, hold, lease_in, process_identity, read_holder

HOLDING = """
import sys, time
from lib.storage.leases import hold
with hold(sys.argv[1], "python -m jobs.pipeline demo", print):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path: Path):
    """Another process that holds the folder's lease."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def never(reason: str) -> None:
    raise AssertionError(reason)


def test_a_second_run_is_refused_at_once_and_told_who_is_there(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    before = (tmp_path / "lease.json").read_bytes()
    begin = time.monotonic()
    refused = rf"jobs\.pipeline demo`, process {other.pid} on .* since 2.*another --root"
    with pytest.raises(FolderInUse, match=refused), hold(str(tmp_path), "again", never):
        pass
    assert time.monotonic() - begin < 2
    assert (tmp_path / "lease.json").read_bytes() == before


@pytest.mark.parametrize("reaped", [True, False])
def test_a_killed_run_makes_nobody_wait_on_its_machine(
    tmp_path: Path, other: subprocess.Popen[str], reaped: bool
) -> None:
    other.kill()
    if reaped:
        other.wait()
    else:  # its parent has not asked for its exit code yet
        while process_identity(other.pid):
            time.sleep(0.01)
    said: list[str] = []
    begin = time.monotonic()
    with hold(str(tmp_path), "again", never, said.append):
        assert time.monotonic() - begin < 2
        holder = read_holder(lease_in(str(tmp_path)))
        assert holder is not None
        assert holder.command == "again"
    assert [line for line in said if f"process {other.pid}" in line and "takes over" in line]
    assert not (tmp_path / "lease.json").exists()


def test_another_process_with_the_same_number_is_another(tmp_path: Path) -> None:
    holder = replace(Holder.this("old"), process=Holder.this("x").process + "0")
    write_bytes(lease_in(str(tmp_path)), json.dumps(asdict(holder)).encode())
    with hold(str(tmp_path), "again", never, lambda line: None):
        pass


def elsewhere(folder: Path, **changed: object) -> Holder:
    """A lease of another machine."""
    holder = replace(Holder.this("far away"), host="other", process="other 1", time=time.time(), **changed)
    write_bytes(lease_in(str(folder)), json.dumps(asdict(holder)).encode())
    return holder


def test_a_lease_of_another_machine_is_watched(tmp_path: Path) -> None:
    """For as long as heartbeats may take, or until one comes. An old one needs no watching, whatever the clocks say."""
    far = elsewhere(tmp_path)
    waited: list[float] = []

    def beats(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            elsewhere(tmp_path, token=far.token, beat=far.beat + 1)

    mine = Lease(str(tmp_path), Holder.this("mine"))
    with pytest.raises(FolderInUse, match=r"far away`, process .* on other"):
        mine.take(lambda line: None, 60, beats)
    assert len(waited) == 3

    elsewhere(tmp_path)
    begin = time.monotonic()
    mine.take(lambda line: None, 0.3)
    assert 0.3 <= time.monotonic() - begin < 2
    mine.give_back()

    far = elsewhere(tmp_path)
    write_bytes(lease_in(str(tmp_path)), json.dumps(asdict(replace(far, time=far.time - 3600))).encode())
    mine.take(lambda line: None, 60, never)


def test_a_run_whose_lease_was_taken_over_is_told(tmp_path: Path) -> None:
    """It slept for too long. What it would give back is no longer its own."""
    told: list[str] = []
    with hold(str(tmp_path), "mine", told.append, beat=0.02):
        before = read_holder(lease_in(str(tmp_path)))
        while read_holder(lease_in(str(tmp_path))) == before:
            time.sleep(0.01)
        elsewhere(tmp_path)
        for _ in range(500):
            if told:
                break
            time.sleep(0.01)
    assert len(told) == 1
    assert "far away" in told[0]
    assert (tmp_path / "lease.json").exists()


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b'{"host": 1}'])
def test_a_lease_that_a_loss_of_power_damaged_is_none(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "lease.json").write_bytes(left)
    with hold(str(tmp_path), "mine", never):
        pass


def test_the_command_refuses_a_folder_in_use_before_ray_starts(tmp_path: Path) -> None:
    images = tmp_path / "images"
    for split in ("train", "val"):
        (images / split / "x").mkdir(parents=True)
    file = tmp_path / "tiny.toml"
    file.write_text(f'[images]\ntrain = "{images}/train"\nval = "{images}/val"\n'
                    '[networks.a]\nmodel = "test_resnet"\n[networks.b]\nmodel = "test_resnet"\n')  # fmt: skip
    with hold(str(tmp_path / "tiny"), "first", never):
        done = subprocess.run(
            [sys.executable, "-m", "jobs.pipeline", str(file), "--root", str(tmp_path)],
            cwd=PROJECT, capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: `first`, process ")
    assert "Ray" not in done.stderr + done.stdout
