"""What the tests share: the folder of real photographs, one local Ray for the whole session, small real pictures."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a FutureWarning of Ray's about GPUs

torch.set_num_threads(1)  # the machine is shared with Ray's workers

PROJECT = Path(__file__).parent.parent
SHARED = PROJECT.parent / "shared"


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
