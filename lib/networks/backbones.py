"""What every library's networks are made into: F, the last layer, the network's own output, and its data config."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Compute = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Backbone:
    """A network of any library, on the CPU."""

    model: nn.Module  # with all weights that F needs
    features: Compute  # F: normalised images (n, 3, h, w) -> (n, d)
    head: nn.Module | None  # the last layer: Linear, or a 1x1 convolution; None if there is none that is C
    headless: str  # why `head` is None, for messages; "" if it is not
    output: Compute  # the network's own class scores, (n, classes) for normalised images; used in one thread
    config: dict[str, Any]  # timm's data config: input_size, crop_pct, crop_mode, interpolation, mean, std


def shorter_side(crop: int, resized: int) -> float:
    """Return timm's crop_pct with which it resizes the shorter side to `resized` pixels before it crops to `crop`.

    timm resizes to floor(crop / crop_pct); rounding could make that one pixel less.
    """
    share = crop / resized
    return share if math.floor(crop / share) == resized else crop / (resized + 0.5)


def is_linear(layer: nn.Module | None) -> bool:
    """Return whether a layer is an affine map of a feature vector: Linear, or a 1x1 convolution."""
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1))
