"""What the tests share: the folder of real photographs, one local Ray for the whole session, a tiny experiment."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis  # noqa: F401 - before lib.networks.imports hides objects from it: its plugin imports it at the end
import pytest
import torch
from project import PROJECT, SHARED
from tiny import TINY

from lib.demo.pictures import draw_split

if TYPE_CHECKING:
    from store import Store

os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a FutureWarning of Ray's about GPUs

torch.set_num_threads(1)  # the machine is shared with Ray's workers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings are errors, except those of Ray, moto and boto3 themselves."""
    for item in items:
        if item.path.parent.name in ("ray", "system"):
            item.add_marker(pytest.mark.filterwarnings("default"), append=False)


@pytest.fixture(scope="session")
def photos() -> Path:
    """800 labelled ImageNet photographs, which a fresh machine of a user has not."""
    folder = SHARED / "photos"
    if not folder.is_dir():
        pytest.skip(f"no photographs in {folder}")
    return folder


@pytest.fixture(scope="session")
def slim() -> Path:
    """What TensorFlow computed with TF-Slim's networks, which a fresh machine of a user has not."""
    folder = SHARED / "slim"
    if not folder.is_dir():
        pytest.skip(f"no golden data of TF-Slim in {folder}")
    return folder


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray on this machine for all tests that ask for it."""
    import ray

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": str(PROJECT)}},
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small experiment: 96 + 48 drawn pictures, two tiny networks with random weights."""
    folder = tmp_path_factory.mktemp("experiment")
    draw_split(str(folder / "train"), 96, 64, 0)
    draw_split(str(folder / "val"), 48, 64, 1)
    path = folder / "tiny.toml"
    path.write_text(TINY.format(folder=folder))
    return path


@pytest.fixture(scope="session")
def running_store() -> Iterator[Store]:
    """One S3 server for all tests that ask for it."""
    pytest.importorskip("moto.server")
    from store import Store

    running = Store()
    yield running
    running.stop()


@pytest.fixture
def store(running_store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty bucket behind a proxy, and the environment that leads there."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in running_store.environment().items():
        monkeypatch.setenv(name, value)
    running_store.clear()
    return running_store
