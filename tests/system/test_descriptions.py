"""Networks described in another process: the same as in this one, its errors too, and it never outlives this one."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from project import PROJECT

from jobs.extraction.checks import describe_all
from lib.errors import NetworkError
from lib.experiment.network_settings import NetworkSettings
from lib.networks.descriptions import Describing, describe_network

SMALL = NetworkSettings(model="test_resnet", weights="random")


def test_what_the_other_process_finds_is_what_this_one_would() -> None:
    begun = Describing({"a": SMALL, "b": NetworkSettings(model="test_vit", weights="random")})
    assert begun.descriptions["a"] == describe_network("a", SMALL)
    assert begun.descriptions["b"].geometry.input_size == (3, 160, 160)
    assert begun.descriptions is begun.descriptions, "asked once"


@pytest.mark.usefixtures("local_ray")
def test_on_a_cluster_its_nodes_describe_whatever_has_begun_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights may lie on the nodes alone."""
    monkeypatch.setattr("jobs.extraction.checks.one_machine", lambda: False)
    begun = Describing({"a": NetworkSettings(model="test_resnet", weights="/none")})
    assert describe_all({"a": SMALL}, begun)["a"] == describe_network("a", SMALL)


def test_its_refusals_are_raised_here() -> None:
    with pytest.raises(NetworkError, match=r"network 'a': there is no file /none with its weights"):
        Describing({"a": NetworkSettings(model="test_resnet", weights="/none")}).descriptions  # noqa: B018


def test_a_process_that_ends_without_an_answer_is_told_of() -> None:
    begun = Describing({"a": SMALL})
    begun.process.kill()
    with pytest.raises(RuntimeError, match=r"describes networks ended with exit code -9"):
        begun.descriptions  # noqa: B018


def test_what_is_printed_on_the_way_is_no_part_of_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('a library says hello')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert Describing({"a": SMALL}).descriptions["a"].classes == 1000


def test_it_ends_with_the_process_that_began_it() -> None:
    program = f"""
from lib.networks.descriptions import Describing
from lib.experiment.network_settings import NetworkSettings
print(Describing({{"a": NetworkSettings(model={SMALL.model!r}, weights="random")}}).process.pid)
"""
    begin = time.monotonic()
    found = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True, capture_output=True, text=True)
    assert time.monotonic() - begin < 10
    status = Path(f"/proc/{int(found.stdout)}/status")
    assert not status.exists() or "Z (zombie)" in status.read_text()
