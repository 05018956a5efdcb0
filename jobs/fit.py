"""Feature tables -> affine maps M_{A->B}: Ray Train, one run for each direction, side by side where resources allow.

python -m jobs.fit lite --set fit.iterations=1000
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

import pyarrow as pa
import ray
import ray.train
import torch
from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from jobs.command import Run, gpus, main, say
from lib import experiment as settings
from lib import storage, tables
from lib.fitting import AdamFit

# These change neither the map nor its curve (but for rounding), so a run may go on with others.
NOT_RECORDED = {"checkpoint_every", "cpus", "max_failures"}


def fit(run: Run) -> int:
    """Fit the maps that are missing, all ordered pairs of networks."""
    products = {}
    for source, target in run.experiment.pairs():
        product = map_product(run, source, target)
        if product.begin(run.overwrite):
            products[source, target] = product
        else:
            say("fit", f"{source} -> {target} is finished, skipped")
    fits = [train.remote(run.experiment, run.folder, source, target) for source, target in products]
    ray.get(fits)
    for (source, target), product in products.items():
        curve = tables.read_curve(product.data[1])
        product.finish(len(curve), tables.CURVE, fit_error=float(curve["error"][-1].as_py()))
        say("fit", f"{source} -> {target}: E {curve['error'][-1].as_py():.4f} after {len(curve)} iterations")
    if products:
        storage.delete(run.path("train"))  # the checkpoints
    return len(products)


def map_product(run: Run, source: str, target: str) -> tables.Product:
    experiment, stem = run.experiment, run.path("maps", f"{source}-to-{target}")
    features = run.path("features", "train")
    return tables.Product(
        manifest=f"{stem}.manifest.json",
        data=(f"{stem}.safetensors", f"{stem}.curve.parquet", train_folder(run.folder, source, target)),
        made_from={
            "source": tables.features_digest(features, source),
            "target": tables.features_digest(features, target),
            "seed": experiment.seed,
            "fit": experiment.fit.model_dump(exclude=NOT_RECORDED),
        },
    )


def train_folder(folder: str, source: str, target: str) -> str:
    """Where Ray Train keeps the checkpoints of an unfinished fit."""
    return storage.join(folder, "train", f"{source}-to-{target}")


@ray.remote(num_cpus=0)
def train(experiment: settings.Experiment, folder: str, source: str, target: str) -> None:
    """Run Ray Train for one direction until its map and curve are written."""
    gpu = gpus() > 0
    filesystem, path = storage.resolve(storage.join(folder, "train"))
    trainer = TorchTrainer(
        train_loop,
        train_loop_config={"experiment": experiment, "folder": folder, "source": source, "target": target},
        scaling_config=ScalingConfig(
            num_workers=1, use_gpu=gpu, resources_per_worker={"CPU": experiment.fit.cpus, **({"GPU": 1} if gpu else {})}
        ),
        run_config=RunConfig(  # type: ignore[call-arg] # mypy sees version 1
            name=f"{source}-to-{target}",
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=experiment.fit.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            worker_runtime_env={"env_vars": {"RAY_TRAIN_ENABLE_PRINT_PATCH": "0"}},  # it prints every line twice
        ),
    )
    trainer.fit()


def train_loop(config: dict[str, Any]) -> None:
    """Ray Train's worker: the whole fit, from the last checkpoint where there is one."""
    experiment, source, target = config["experiment"], config["source"], config["target"]
    options = experiment.fit
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(options.cpus)
    torch.backends.cuda.matmul.allow_tf32 = options.tf32
    features = tables.read_features(storage.join(config["folder"], "features", "train"), [source, target])
    X, Y = (torch.from_numpy(features.vectors[network]).to(device) for network in (source, target))
    fitting = AdamFit(X, Y, options, experiment.seed)
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        restore(fitting, checkpoint)
    progress = Progress(f"{source} -> {target}", fitting.iteration, options.iterations)
    while fitting.iteration < options.iterations:
        fitting.step()
        progress.show(fitting)
        if fitting.iteration % options.checkpoint_every == 0 or fitting.iteration == options.iterations:
            save(fitting)
    stem = storage.join(config["folder"], "maps", f"{source}-to-{target}")
    errors = fitting.curve()
    curve = pa.table([pa.array(range(1, len(errors) + 1), pa.int64()), pa.array(errors)], schema=tables.CURVE)
    tables.write_table(f"{stem}.curve.parquet", curve)
    fitting.map().save(f"{stem}.safetensors")


def save(fitting: AdamFit) -> None:
    """Report a checkpoint to Ray Train, which puts it into the run's storage."""
    with tempfile.TemporaryDirectory() as folder:
        torch.save(fitting.state(), os.path.join(folder, "fit.pt"))
        ray.train.report({"iteration": fitting.iteration}, checkpoint=Checkpoint.from_directory(folder))


def restore(fitting: AdamFit, checkpoint: Checkpoint) -> None:
    with checkpoint.as_directory() as folder:
        fitting.restore(torch.load(os.path.join(folder, "fit.pt"), weights_only=True))


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
            f"{self.title}: iteration {fitting.iteration} of {self.iterations}, E {float(fitting.errors[-1]):.4f}, "
            f"{rate:.0f} iterations/s, {left:.0f} s left",
        )


if __name__ == "__main__":
    main(fit, __doc__)
