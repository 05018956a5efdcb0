"""The demo's two small networks, built from timm's parts and registered with timm, and their training from scratch.

timm.create_model("small_inception", num_classes=12)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.layers import ConvNormAct, create_classifier
from timm.models import register_model
from timm.models.resnet import BasicBlock, ResNet
from torch import nn
from torch.nn import functional

from lib.demo.pictures import CLASSES
from lib.storage.files import files_below
from lib.storage.uris import resolve

BATCH = 32
SIZE = 48  # pixels, height and width of the networks' input


def _config(**fields: Any) -> dict[str, Any]:
    """Return timm's pretrained_cfg, from which timm reads the data config."""
    return {
        "input_size": (3, SIZE, SIZE),
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
        "num_classes": 1000,
        **fields,
    }


class Branches(nn.Module):
    """An Inception block (Szegedy et al. 2015): 1x1, 3x3, two 3x3 and pooled 1x1 convolutions side by side."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.one = ConvNormAct(channels, width, 1)
        self.three = nn.Sequential(ConvNormAct(channels, width // 2, 1), ConvNormAct(width // 2, width, 3))
        self.five = nn.Sequential(
            ConvNormAct(channels, width // 2, 1), ConvNormAct(width // 2, width, 3), ConvNormAct(width, width, 3)
        )
        self.pooled = nn.Sequential(nn.AvgPool2d(3, 1, 1), ConvNormAct(channels, width, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, 4 width, h, w) for (n, channels, h, w)."""
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pooled(x)], 1)


class SmallInception(nn.Module):
    """A stem, then Inception blocks with max pools between them. Its features have 192 numbers."""

    def __init__(
        self, num_classes: int = 1000, in_chans: int = 3, pretrained_cfg: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.num_classes, self.num_features = num_classes, 192
        self.pretrained_cfg = self.default_cfg = pretrained_cfg or _config()
        self.stem = nn.Sequential(ConvNormAct(in_chans, 24, 3, stride=2), ConvNormAct(24, 48, 3, stride=2))
        self.blocks = nn.Sequential(
            Branches(48, 16), Branches(64, 24), nn.MaxPool2d(2), Branches(96, 32), nn.MaxPool2d(2), Branches(128, 48)
        )
        self.global_pool, self.classifier = create_classifier(self.num_features, num_classes)

    def get_classifier(self) -> nn.Module:
        """Return C, as timm's models do."""
        return self.classifier

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last feature map, as timm's models do."""
        return self.blocks(self.stem(x))

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Return class scores, or the pooled features with `pre_logits`, as timm's models do."""
        pooled = self.global_pool(x)
        return pooled if pre_logits else self.classifier(pooled)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return class scores (n, num_classes) for images (n, 3, 48, 48)."""
        return self.forward_head(self.forward_features(x))


def _accepted(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options without those that timm.create_model passes to every model and these models do not use."""
    return {
        key: value
        for key, value in options.items()
        if key not in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
    }


@register_model
def small_inception(pretrained: bool = False, **options: Any) -> nn.Module:
    """Inception-like, for 48 x 48 pixels, d = 192. It comes without weights."""
    return SmallInception(**_accepted(options))


@register_model
def small_resnet(pretrained: bool = False, **options: Any) -> nn.Module:
    """ResNet-like, for 48 x 48 pixels, d = 160. It comes without weights."""
    block: Any = BasicBlock
    layout: dict[str, Any] = {"layers": (1, 1, 1, 1), "channels": (24, 48, 96, 160), "zero_init_last": False}
    model: Any = ResNet(block, **layout, **_accepted(options))
    model.pretrained_cfg = model.default_cfg = _config(first_conv="conv1", classifier="fc")
    return model


def read_pictures(folder: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pictures of a tree as (n, 3, SIZE, SIZE) uint8 pixels and (n,) int64 labels, in the order of their
    paths.

    Pictures of another size are resized as extraction does it.
    """
    files = files_below(folder, ".JPEG", recursive=True)
    names = [file.split("/")[-2] for file in files]
    place = {name: index for index, name in enumerate(CLASSES)}
    filesystem, _ = resolve(folder)
    pixels = []
    for file in files:
        with filesystem.open_input_file(file) as stream, Image.open(stream) as image:
            resized = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            pixels.append(np.asarray(resized).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(pixels)), torch.tensor([place[name] for name in names])


def train_network(
    model: nn.Module, pixels: torch.Tensor, labels: torch.Tensor, epochs: int, seed: int, log: Callable[[str], None]
) -> None:
    """Train from scratch on (n, 3, h, w) uint8 pixels and (n,) labels. Equal seeds give equal weights on a CPU.

    It uses AdamW, a one-cycle learning rate and smoothed labels; pictures are flipped and shifted at random.
    """
    draw = torch.Generator().manual_seed(seed)
    steps = -(-len(pixels) // BATCH)
    adam = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=2e-3, total_steps=epochs * steps, pct_start=0.15)
    model.train().to(memory_format=torch.channels_last)
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(pixels), generator=draw).split(BATCH):
            logits = model(augment(normalise(model, pixels[rows]), draw))
            loss = functional.cross_entropy(logits, labels[rows], label_smoothing=0.1)
            adam.zero_grad()
            loss.backward()
            adam.step()
            cycle.step()
            total += float(loss.detach()) * len(rows)
        log(f"epoch {epoch + 1} of {epochs}, loss {total / len(pixels):.3f}")
    model.eval()


def normalise(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Return (n, 3, h, w) uint8 pixels as float32, normalised as the network's data config says."""
    config: Any = model.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    return (pixels.float() / 255 - mean) / std


def augment(images: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Flip each image at random, and shift all images of a batch by up to 4 pixels, so that zeros move in."""
    flip = torch.rand(len(images), 1, 1, 1, generator=draw) < 0.5
    images = torch.where(flip, images.flip(3), images)
    down, right = torch.randint(0, 9, (2,), generator=draw).tolist()
    h, w = images.shape[2:]
    padded = functional.pad(images, (4, 4, 4, 4))[:, :, down : down + h, right : right + w]
    return padded.contiguous(memory_format=torch.channels_last)
