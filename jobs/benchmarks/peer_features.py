"""The shape of Ray Data's documented batch inference, with its defaults: read, map, an actor's batches, Parquet.

python -m jobs.benchmarks.peer_features pictures.csv FOLDER lcnet_050 mobilenetv3_small_050
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import ray
import timm
import torch
from PIL import Image

BATCH = 64


class Preprocess:
    """Turn a picture into what a network takes, by timm's transform."""

    def __init__(self, model: str) -> None:
        config = timm.data.resolve_model_data_config(timm.create_model(model))
        self.transform = timm.data.create_transform(**config, is_training=False)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with pixels in place of the picture."""
        return {"path": row["path"], "pixels": self.transform(Image.fromarray(row["image"])).numpy()}


class Networks:
    """Compute the features of all networks, batch by batch."""

    def __init__(self, models: list[str]) -> None:
        self.networks = {name: timm.create_model(name, num_classes=0).eval() for name in models}

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return each network's features of a batch."""
        pixels = torch.from_numpy(np.stack(batch["pixels"]))
        with torch.inference_mode():
            found = {name: network(pixels).numpy() for name, network in self.networks.items()}
        return {"path": batch["path"], **found}


def compute_features(listing: str, folder: str, models: list[str]) -> None:
    """Write all models' features as Parquet files."""
    with open(listing) as file:
        paths = [str(Path(listing).parent / row["path"]) for row in csv.DictReader(file)]
    pictures = ray.data.read_images(paths, include_paths=True, mode="RGB")
    pixels = pictures.map(Preprocess(models[0]))
    features = pixels.map_batches(
        Networks,
        fn_constructor_args=(models,),
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=1),
        num_gpus=1 if torch.cuda.is_available() else None,
    )
    features.write_parquet(folder)


if __name__ == "__main__":
    ray.init(address="local", log_to_driver=False)
    compute_features(sys.argv[1], sys.argv[2], sys.argv[3:])
