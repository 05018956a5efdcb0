"""One affine map by the paper's Adam: a run of Ray Train, going on from its last checkpoint after a worker dies."""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

import pyarrow as pa
import ray.train
import torch
from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer

from jobs.cluster.capacity import Capacity, one_machine
from jobs.cluster.runs import say
from jobs.fitting.streaming import stream_rows
from lib.errors import UserError
from lib.experiment.settings import Experiment
from lib.experiment.variants import Variant, map_name
from lib.features.reading import read_features
from lib.features.tables import feature_size
from lib.maps.adam import AdamFit
from lib.maps.batches import ResidentRows, Rows, Share, StreamedRows
from lib.maps.curves import CURVE
from lib.networks.devices import best_device
from lib.storage.parquet import write_table
from lib.storage.uris import join_uri, resolve


def quicken_ray_train() -> None:
    """Set what Ray Train reads from the environment, where the user has set nothing.

    Its controller asks the workers how they are every 2 seconds, and a second checkpoint waits for that: ask oftener.
    Where there is one machine, no watcher for machines that are to be taken away: a process less a fit.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.25")
    if one_machine():
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")


def fit_title(source: str, target: str, variant: Variant) -> str:
    """As the log names a fit."""
    return f"{source} -> {target}" + (f" (seed + {variant.seed})" if variant.seed else "")


def train_map(
    experiment: Experiment, folder: str, source: str, target: str, variant: Variant, streamed: bool = False
) -> None:
    """Run Ray Train for one map until it and its curve are written. Several may run in threads of their own."""
    name = map_name(source, target, variant)
    gpu = Capacity.now().gpus > 0
    filesystem, path = resolve(join_uri(folder, "train"))
    trainer = TorchTrainer(
        train_loop,
        train_loop_config={
            "experiment": experiment,
            "folder": folder,
            "source": source,
            "target": target,
            "name": name,
            "title": fit_title(source, target, variant),
            "seed": experiment.seed + variant.seed,
            "streamed": streamed,
        },
        torch_config=TorchConfig(backend=None if experiment.fit.workers > 1 else "gloo"),  # one talks to nobody
        scaling_config=ScalingConfig(
            num_workers=experiment.fit.workers,
            use_gpu=gpu,
            resources_per_worker={"CPU": experiment.fit.cpus, **({"GPU": 1} if gpu else {})},
        ),
        run_config=RunConfig(  # type: ignore[call-arg] # mypy sees version 1
            name=name,
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=experiment.fit.max_failures),
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
    """Ray Train's worker: the whole fit, from the last checkpoint where there is one.

    Of several workers that share each batch all have the same map after each step; the first one writes.
    """
    options = config["experiment"].fit
    context = ray.train.get_context()
    share = Share(context.get_world_rank(), context.get_world_size())
    device = best_device()
    if device.type == "cpu":
        torch.set_num_threads(options.cpus)
    torch.backends.cuda.matmul.allow_tf32 = options.tf32
    features, networks = join_uri(config["folder"], "features", "train"), (config["source"], config["target"])
    rows = training_rows(features, networks, config, share, device)
    d_source, d_target = (feature_size(features, network) for network in networks)
    fitting = AdamFit(rows, d_source, d_target, options, config["seed"])
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        restore(fitting, checkpoint)
    progress = Progress(config["title"], fitting.iteration, options.iterations)
    while fitting.iteration < options.iterations:
        fitting.step()
        if share.rank == 0:
            progress.show(fitting)
        if fitting.iteration % options.checkpoint_every == 0 or fitting.iteration == options.iterations:
            save(fitting, share)
    if share.rank:
        return
    path = join_uri(config["folder"], "maps", config["name"])
    errors = fitting.curve()
    curve = pa.table([pa.array(range(1, len(errors) + 1), pa.int64()), pa.array(errors)], schema=CURVE)
    write_table(f"{path}.curve.parquet", curve)
    fitting.map().save(f"{path}.safetensors")


def training_rows(
    features: str, networks: tuple[str, str], config: dict[str, Any], share: Share, device: torch.device
) -> Rows:
    """Where the batches come from: all rows on the device, or Ray Data's stream of them."""
    seed = config["seed"]
    if config["streamed"]:
        return StreamedRows(
            stream_rows(features, *networks, seed, share), config["experiment"].fit.pool_rows, device, seed, share
        )
    vectors = read_features(features, list(networks)).vectors
    X, Y = (torch.from_numpy(vectors[network]).to(device) for network in networks)
    return ResidentRows(X, Y, seed, share, inplace=True)


def save(fitting: AdamFit, share: Share) -> None:
    """Report a checkpoint to Ray Train, which puts it into the run's storage: the first worker's, all wait for it."""
    metrics = {"iteration": fitting.iteration}
    if share.rank:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.save(fitting.state(), os.path.join(folder, "fit.pt"))
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def restore(fitting: AdamFit, checkpoint: Checkpoint) -> None:
    with checkpoint.as_directory() as folder:
        fitting.restore(torch.load(os.path.join(folder, "fit.pt"), weights_only=True, map_location="cpu"))


class Progress:
    """A line every ten seconds: iteration, error, iterations per second, time left."""

    SECONDS = 10.0

    def __init__(self, title: str, start: int, iterations: int) -> None:
        self.title, self.start, self.iterations = title, start, iterations
        self.begin = self.last = time.monotonic()
        if start:
            say("fit", f"{title}: goes on from iteration {start}")

    def show(self, fitting: AdamFit) -> None:
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
