"""One affine map by the paper's Adam: a run of Ray Train, which goes on from its last checkpoint if a worker dies."""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

import ray
import ray.train
import torch
from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer

from jobs.cluster.capacity import Capacity, one_machine
from jobs.cluster.runs import say
from jobs.fitting.streaming import stream_rows
from lib.errors import UserError
from lib.experiment.layout import Layout
from lib.experiment.settings import Experiment, FitSettings
from lib.experiment.variants import MapKey
from lib.features.reading import read_features
from lib.features.tables import FeatureTables
from lib.maps.adam import AdamFit
from lib.maps.batches import ResidentRows, Rows, Share, StreamedRows
from lib.maps.curves import write_curve
from lib.networks.devices import best_device
from lib.storage.uris import resolve


def quicken_ray_train() -> None:
    """Set environment variables that Ray Train reads, unless the user has set them.

    Its controller asks every 2 seconds how the workers are, and a second checkpoint waits for that, so it asks more
    often here. On one machine it needs no process that watches for machines about to be taken away.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.25")
    if one_machine():
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")


def train_map(
    experiment: Experiment, files: Layout, tables: FeatureTables, key: MapKey, streamed: bool = False
) -> None:
    """Run Ray Train for one map until it and its curve are written. Several calls may run in threads of their own."""
    gpu = Capacity.now().gpus > 0
    filesystem, path = resolve(files.checkpoints)
    settings = experiment.fit
    trainer = TorchTrainer(
        train_loop,
        train_loop_config={
            "settings": settings,
            "files": files,
            "tables": tables,
            "key": key,
            "seed": experiment.seed + key.variant.seed,
            "streamed": streamed,
        },
        torch_config=TorchConfig(backend=None if settings.workers > 1 else "gloo"),  # one worker talks to nobody
        scaling_config=ScalingConfig(
            num_workers=settings.workers,
            use_gpu=gpu,
            resources_per_worker={"CPU": settings.cpus, **({"GPU": 1} if gpu else {})},
        ),
        run_config=RunConfig(  # type: ignore[call-arg] # mypy sees version 1
            name=key.name,
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=settings.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            worker_runtime_env={"env_vars": {"RAY_TRAIN_ENABLE_PRINT_PATCH": "0"}},  # it prints every line twice
        ),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:
        for cause in error.worker_failures.values():
            if isinstance(cause, UserError):
                raise cause from error
        raise


def train_loop(config: dict[str, Any]) -> None:
    """Do the whole fit in one of Ray Train's workers, from the last checkpoint if there is one.

    Workers that share each batch all have the same map after each step; the first one writes it.
    """
    settings: FitSettings = config["settings"]
    files: Layout = config["files"]
    tables: FeatureTables = config["tables"]
    key: MapKey = config["key"]
    context = ray.train.get_context()
    share = Share(context.get_world_rank(), context.get_world_size())
    device = best_device()
    if device.type == "cpu":
        torch.set_num_threads(settings.cpus)
    torch.backends.cuda.matmul.allow_tf32 = settings.tf32
    if config["streamed"]:
        stream = stream_rows(tables, *key.pair, config["seed"], share)
        rows: Rows = StreamedRows(stream, settings.pool_rows, device, config["seed"], share)
    else:
        rows = resident_rows(tables, key, config["seed"], share, device)
    sizes = tables.sizes(key.pair)
    fitting = AdamFit(rows, sizes[key.source], sizes[key.target], settings, config["seed"])
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        restore(fitting, checkpoint)
    progress = Progress(key.title, fitting.iteration, settings.iterations)
    while fitting.iteration < settings.iterations:
        fitting.step()
        if share.rank == 0:
            progress.show(fitting)
        if fitting.iteration % settings.checkpoint_every == 0 or fitting.iteration == settings.iterations:
            save(fitting, share)
    if share.rank == 0:
        write_curve(files.curve(key.name), fitting.curve())
        fitting.map().save(files.map(key.name))


def resident_rows(tables: FeatureTables, key: MapKey, seed: int, share: Share, device: torch.device) -> ResidentRows:
    """Read all rows of the pair's features onto the device."""
    vectors = read_features(tables, key.pair).vectors
    X, Y = (torch.from_numpy(vectors[network]).to(device) for network in key.pair)
    return ResidentRows(X, Y, seed, share, inplace=True)


def save(fitting: AdamFit, share: Share) -> None:
    """Report a checkpoint to Ray Train, which stores the first worker's. All workers wait for it."""
    metrics = {"iteration": fitting.iteration}
    if share.rank:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.save(fitting.state(), os.path.join(folder, "fit.pt"))
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def restore(fitting: AdamFit, checkpoint: Checkpoint) -> None:
    """Go on from a checkpoint."""
    with checkpoint.as_directory() as folder:
        fitting.restore(torch.load(os.path.join(folder, "fit.pt"), weights_only=True, map_location="cpu"))


class Progress:
    """Say every ten seconds how far a fit is: iteration, error, iterations per second, time left."""

    SECONDS = 10.0

    def __init__(self, title: str, start: int, iterations: int) -> None:
        self.title, self.start, self.iterations = title, start, iterations
        self.begin = self.last = time.monotonic()
        if start:
            say("fit", f"{title}: goes on from iteration {start}")

    def show(self, fitting: AdamFit) -> None:
        """Say how far the fit is, unless that was said less than ten seconds ago."""
        now = time.monotonic()
        if now - self.last < self.SECONDS:
            return
        self.last = now
        rate = (fitting.iteration - self.start) / (now - self.begin)
        left = (self.iterations - fitting.iteration) / rate
        say(
            "fit",
            f"{self.title}: iteration {fitting.iteration} of {self.iterations}, E {fitting.last_error():.4f}, "
            f"{rate:.0f} iterations/s, {left:.0f} s left",
        )
