"""Start the run of Ray Train that fits all affine maps. Neither the driver nor Ray Train's controller needs torch.

What the workers do is in jobs.fitting.training.
"""

from __future__ import annotations

import os
from typing import Any

from ray.train import BackendConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from jobs.cluster.capacity import Capacity, one_machine
from jobs.fitting.retries import EndWhatWouldFailAgain
from jobs.fitting.works import Work
from lib.networks.imports import uncollected
from lib.storage.uris import resolve

# Each starts a process that imports Ray Data and Ray Train, for two seconds of a core. No Dataset is handed out here,
# and the placement group of a controller that died ends with the driver, which then fails. Names, since Ray may move
# these classes; where they are called otherwise, they are merely not left out.
UNUSED = ("DatasetsCallback", "PlacementGroupCleanerCallback")


class Trainer(DataParallelTrainer):
    """Ray Train without the helpers that nothing here uses."""

    def _create_default_callbacks(self) -> list[Any]:  # private: there is no public way to leave helpers out
        return [found for found in super()._create_default_callbacks() if type(found).__name__ not in UNUSED]


def train_maps(work: Work) -> None:
    """Run Ray Train until all maps, their curves and their manifests are written."""
    quicken_ray_train()
    gpu = Capacity.now().gpus > 0
    workers, most = work.settings.workers, work.settings.workers * work.teams
    num_workers = most if one_machine() or most == workers else (workers, most)  # clusters grow and shrink
    filesystem, path = resolve(work.files.checkpoints)
    trainer = Trainer(
        fit_share,
        train_loop_config={"work": work},
        backend_config=backend(workers),
        scaling_config=ScalingConfig(
            num_workers=num_workers,  # type: ignore[arg-type] # mypy sees version 1
            use_gpu=gpu,
            resources_per_worker={"CPU": work.settings.cpus, **({"GPU": 1} if gpu else {})},
        ),
        run_config=RunConfig(  # type: ignore[call-arg] # mypy sees version 1
            name="maps",
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=work.settings.max_failures),
            callbacks=[EndWhatWouldFailAgain()],  # type: ignore[list-item] # mypy sees version 1
            worker_runtime_env={"env_vars": {"RAY_TRAIN_ENABLE_PRINT_PATCH": "0"}},  # it prints every line twice
        ),
    )
    trainer.fit()


def backend(workers: int) -> BackendConfig:
    """Return what connects the workers: PyTorch's process groups if `workers` share each batch, else nothing.

    Workers that fit maps alone have no port that listens.
    """
    if workers == 1:
        return BackendConfig()
    from ray.train.torch import TorchConfig  # with torch, which takes seconds

    return TorchConfig(backend=None)


def quicken_ray_train() -> None:
    """Set environment variables that Ray Train reads, unless the user has set them.

    Its controller asks every 2 seconds how the workers are; it asks more often here, so that small fits end soon. On
    one machine it needs no process that watches for machines about to be taken away.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.25")
    if one_machine():
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")


def fit_share(config: dict[str, Work]) -> None:
    """Fit one worker's share of the maps. It is what each of Ray Train's workers does."""
    with uncollected():
        from jobs.fitting.training import fit_share_of  # with torch, which only the workers need

    fit_share_of(config["work"])
