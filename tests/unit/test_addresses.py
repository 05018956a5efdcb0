"""Addresses at which no Ray answers are told at once, by where they come from: Ray itself asks for seven minutes."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray._private.services

from jobs.cluster.addresses import check_address
from jobs.cluster.starting import connect, start_ray
from lib.errors import RunError


@pytest.fixture
def gone() -> Iterator[str]:
    """HOST:PORT where nothing listens, held so that nobody else begins to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Ray that others run on this machine, nor that of tests before this one."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray._private.services, "find_gcs_addresses", set)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_an_address_of_a_ray_that_is_gone(gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = time.monotonic()
    port = gone.partition(":")[2]
    for address in (gone, f"ray://{gone}", f"localhost:{port}"):
        with pytest.raises(RunError, match=rf"^--address {address}: no Ray answers at .*:{port} .*refused.*`ray start"):
            start_ray(address)
    monkeypatch.setenv("RAY_ADDRESS", gone)
    with pytest.raises(RunError, match=rf"^RAY_ADDRESS {gone}: no Ray answers"):
        start_ray(None)
    assert time.monotonic() - begin < 10


def test_a_file_that_a_ray_left_behind(gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(RunError, match=r"^--address auto: no Ray runs on this machine"):
        check_address("--address", "auto")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(gone)
    port = gone.partition(":")[2]
    with pytest.raises(RunError, match=rf"^--address auto: no Ray answers at .*:{port} .*it has ended"):
        check_address("--address", "auto")


@pytest.mark.parametrize("address", ["nonsense", "10.0.0.1:port", "10.0.0.1:99999"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(RunError, match=f"^--address {address}"):
        check_address("--address", address)


def test_something_that_is_no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster")

    monkeypatch.setattr(ray, "init", refuse)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(ray._private.services, "resolve_ip_for_localhost", lambda host: host)
        with pytest.raises(RunError, match="what answers there is no Ray"):
            connect("--address", f"127.0.0.1:{server.getsockname()[1]}", {})
