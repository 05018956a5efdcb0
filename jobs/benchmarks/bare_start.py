"""The least that Ray Data does from nothing to a first batch of features.

python -m jobs.benchmarks.bare_start photos/val.csv done    (the file `done` is there as soon as the batch is computed)

It has the extraction's batches, resources and heap, and nothing else: it describes, checks, counts and writes nothing.
jobs.benchmarks.extraction sets the extraction's own start beside it.
"""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
from PIL import Image

from lib.networks.memory import ONE_HEAP

SIDES = {"tf_efficientnet_lite0": 224, "tf_efficientnet_lite2": 260}  # pixels, by timm's names of the networks
BATCH = 64  # as extract.batch_size
AT_ONCE = 16  # images in a network, as lib.features.extraction.CPU_BATCH


def decode(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return pixels (n, side, side, 3) for each network, for {"path" (n,)}."""
    images = [Image.open(path).convert("RGB") for path in batch["path"]]
    return {
        model: np.stack([np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)) for image in images])
        for model, side in SIDES.items()
    }


class Networks:
    """The networks with random weights, in an actor that says when it has computed."""

    def __init__(self, done: str) -> None:
        import timm
        import torch

        from lib.networks.devices import best_device, compute_on_cpu

        self.done, self.torch, self.device = Path(done), torch, best_device()
        if self.device.type == "cpu":
            compute_on_cpu(os.cpu_count() or 1)
        made = {model: timm.create_model(model, num_classes=0).eval() for model in SIDES}
        self.networks = {
            model: network.to(self.device).to(memory_format=torch.channels_last) for model, network in made.items()
        }

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return features for pixels, and create the file `done` after the first batch."""
        features = {model: self.features(model, pixels) for model, pixels in batch.items()}
        if not self.done.exists():  # later batches would change its time
            self.done.touch()
        return features

    def features(self, model: str, pixels: np.ndarray) -> np.ndarray:
        """Return one network's features of pixels (n, side, side, 3)."""
        with self.torch.inference_mode():
            images = self.torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float().div_(255)
            return self.torch.cat([self.networks[model](few) for few in images.split(AT_ONCE)]).cpu().numpy()


def time_bare_start(listing: str, done: str) -> None:
    """Run the program on a CSV listing until its first batch."""
    ray.init()
    with open(listing, newline="") as file:
        paths = [str(Path(listing).parent / row["path"]) for row in csv.DictReader(file)]
    blocks = [pa.table({"path": paths[start : start + BATCH]}) for start in range(0, len(paths), BATCH)]
    features = (
        ray.data.from_blocks(blocks)
        .map_batches(decode, batch_size=BATCH, num_cpus=0.5)
        .map_batches(
            Networks,
            fn_constructor_args=(done,),
            batch_size=BATCH,
            num_cpus=1,
            num_gpus=1 if ray.cluster_resources().get("GPU") else None,
            compute=ray.data.ActorPoolStrategy(size=1),
            runtime_env={"env_vars": ONE_HEAP},
        )
    )
    next(iter(features.iter_batches(batch_size=None)))


if __name__ == "__main__":
    time_bare_start(*sys.argv[1:])
