"""The least that Ray Train does from fit() to workers that have torch, in seconds: what a fit's start is compared with.

python -m jobs.benchmarks.bare_fit

It has as many workers as lite's fits on two cores, and nothing else: it reads, fits and writes nothing.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

WORKERS = 2


def begin(config: dict[str, str]) -> None:
    """Import torch, and write down when that was done. It is what each worker does."""
    import torch

    torch.ones(8, 8) @ torch.ones(8, 8)
    rank = ray.train.get_context().get_world_rank()
    (Path(config["folder"]) / str(rank)).write_text(str(time.time()))


def time_bare_fit() -> float:
    """Return the seconds until the last worker has begun."""
    with TemporaryDirectory() as folder:
        start = time.time()
        DataParallelTrainer(
            begin,
            train_loop_config={"folder": folder},
            scaling_config=ScalingConfig(num_workers=WORKERS, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(storage_path=f"{folder}/runs"),
        ).fit()
        return max(float((Path(folder) / str(rank)).read_text()) for rank in range(WORKERS)) - start


if __name__ == "__main__":
    ray.init(include_dashboard=False, log_to_driver=False)
    print(f"{time_bare_fit():.1f} s")
