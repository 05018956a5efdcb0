"""What people write to compute features: timm's transform, torch's DataLoader with two workers, an .npy file.

python -m lib.benchmarks.peer_features pictures.csv FOLDER lcnet_050 mobilenetv3_small_050
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

BATCH, WORKERS = 64, 2


class Pictures(Dataset[torch.Tensor]):
    """The pictures that a listing names, as a network takes them."""

    def __init__(self, listing: str, transform: object) -> None:
        with open(listing) as file:
            self.paths = [Path(listing).parent / row["path"] for row in csv.DictReader(file)]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> torch.Tensor:
        with Image.open(self.paths[place]) as image:
            pixels: torch.Tensor = self.transform(image.convert("RGB"))  # type: ignore[operator] # timm's, untyped
        return pixels


def compute_features(listing: str, folder: str, models: list[str]) -> None:
    """Write each model's features (n, d) as FOLDER/MODEL.npy. The models take pixels as the first one does."""
    networks = {name: timm.create_model(name, num_classes=0).eval() for name in models}
    config = timm.data.resolve_model_data_config(networks[models[0]])
    transform = timm.data.create_transform(**config, is_training=False)
    loader = DataLoader(Pictures(listing, transform), batch_size=BATCH, num_workers=WORKERS)
    found: dict[str, list[np.ndarray]] = {name: [] for name in models}
    with torch.inference_mode():
        for pixels in loader:
            for name, network in networks.items():
                found[name].append(network(pixels).numpy())
    for name, features in found.items():
        np.save(Path(folder) / f"{name}.npy", np.concatenate(features))


if __name__ == "__main__":
    compute_features(sys.argv[1], sys.argv[2], sys.argv[3:])
