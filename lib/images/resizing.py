"""timm's evaluation transform up to normalisation, without the pixels that its crop throws away.

Importing this imports neither timm nor torch, four seconds of a core and 0.6 GB, which most of the processes
that decode do without: what timm's transform does is looked up where the networks are loaded, in `steps`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

# Pillow's filters: how far each reaches, in pixels of the smaller of the two images.
REACH = {Image.Resampling.BILINEAR: 1, Image.Resampling.BICUBIC: 2, Image.Resampling.LANCZOS: 3}
# Those that PyTorch has as well, for uint8 and with antialiasing.
KERNELS = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "bicubic"}


@dataclass(frozen=True)
class Steps:
    """What timm's transform does where it resizes and then takes the centre."""

    size: int | tuple[int, int]  # torchvision's Resize: the shorter side's length, or (height, width)
    crop: tuple[int, int]  # (height, width)
    filter: Image.Resampling


def timms_transform(options: dict[str, Any]) -> Any:
    import timm.data

    # use_prefetcher leaves the pixels uint8: timm's own loaders normalise on the device as well.
    return timm.data.create_transform(**options, is_training=False, use_prefetcher=True)


def steps_of(options: dict[str, Any]) -> Steps | None:
    """The steps of timm's transform of these options; None where it does anything else."""
    from torchvision import transforms

    resize, crop = timms_transform(options).transforms[:2]
    if type(resize) is not transforms.Resize or type(crop) is not transforms.CenterCrop:
        return None
    size = resize.size if isinstance(resize.size, int) else tuple(resize.size)
    size = size[0] if isinstance(size, tuple) and len(size) == 1 else size
    return Steps(size, tuple(crop.size), Image.Resampling[resize.interpolation.name.partition("_")[0]])


class EvaluationTransform:
    """RGB image -> (height, width, 3) uint8, bit-equal to timm's transform of these options, whose `steps` are given.

    With `fast` the image is resized by PyTorch's vector kernels, where there is one: bilinear and bicubic, of any crop
    mode but "border" (the rest is bit-equal all the same). Their weights have 16 bits, Pillow's 22: of 200 photographs
    at 224, 260 and 299 pixels 0.4 % of the numbers differ, by 2 grey levels at the most.
    """

    def __init__(self, options: dict[str, Any], steps: Steps | None, fast: bool = False) -> None:
        self.options, self.steps, self.fast = options, steps, fast

    @cached_property
    def timms(self) -> Callable[[Image.Image], Any]:
        """For what has no such steps."""
        transform: Callable[[Image.Image], Any] = timms_transform(self.options)
        return transform

    def __call__(self, image: Image.Image) -> np.ndarray:
        if self.steps is None:
            return np.ascontiguousarray(np.asarray(self.timms(image)).transpose(1, 2, 0))
        size = scaled(image.size, self.steps.size)
        way = resized_whole
        if self.steps.filter in REACH and rows_first(image.size, size):
            way = resized_fast if self.fast and self.steps.filter in KERNELS else resized
        return way(image, size, self.steps.crop, self.steps.filter)


def rows_first(of: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether any Pillow resizes an image with (width, height) `of` in each row before it does so in each column.

    Since version 13 it doesn't where the height shrinks by more than twice as many pixels as the width (Resample.c);
    before, not where an image is over 100 times as high as it is wide.
    """
    height, width = size
    return of[1] - height <= max(0, 2 * (of[0] - width)) and of[1] <= 100 * of[0]


def scaled(of: tuple[int, int], size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) that torchvision's Resize makes of an image with (width, height) `of`.

    `size` is Resize's own: the shorter side's length, or (height, width).
    """
    if not isinstance(size, int):
        return size
    width, height = of
    if width <= height:
        return int(size * height / width), size
    return size, int(size * width / height)


def _start(length: int, crop: int) -> int:
    return round((length - crop) / 2)


def resized(image: Image.Image, size: tuple[int, int], crop: tuple[int, int], resample: Image.Resampling) -> np.ndarray:
    """Resize an RGB image to `size` and take the centre: (*crop, 3) uint8, bit by bit what Pillow makes of the whole,
    where `rows_first` holds.

    Pillow resizes each row by itself, rounds to uint8, and then resizes each column by itself (Resample.c). So only the
    rows that reach into the crop need be made narrower, and only the crop's columns lower. Both steps keep the whole
    image's offsets, since Pillow's `box` is of single precision and would move the weights.
    """
    height, width = size
    top, left = _start(height, crop[0]), _start(width, crop[1])
    scale = image.height / height
    reach = REACH[resample] * max(scale, 1.0) + 1
    first = max(0, math.floor(top * scale - reach))
    last = min(image.height, math.ceil((top + crop[0]) * scale + reach))
    rows = image if last - first == image.height else image.crop((0, first, image.width, last))
    narrow = rows.resize((width, last - first), resample)
    columns = narrow.crop((left, -first, left + crop[1], image.height - first))  # black where no weight reaches
    return np.asarray(columns.resize((crop[1], height), resample).crop((0, top, crop[1], top + crop[0])))


def resized_whole(
    image: Image.Image, size: tuple[int, int], crop: tuple[int, int], resample: Image.Resampling
) -> np.ndarray:
    """As `resized`, in Pillow's own order, whatever the image's shape: also the pixels that the crop throws away."""
    height, width = size
    top, left = _start(height, crop[0]), _start(width, crop[1])
    return np.asarray(image.resize((width, height), resample).crop((left, top, left + crop[1], top + crop[0])))


def resized_fast(
    image: Image.Image, size: tuple[int, int], crop: tuple[int, int], resample: Image.Resampling
) -> np.ndarray:
    """As `resized`, by PyTorch's kernels for uint8 on the CPU, which come from Pillow-SIMD's."""
    import torch

    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]  # its memory is channels_last: AVX2's case
    whole = torch.nn.functional.interpolate(pixels, size, mode=KERNELS[resample], antialias=True)[0]
    top, left = _start(size[0], crop[0]), _start(size[1], crop[1])
    return whole[:, top : top + crop[0], left : left + crop[1]].permute(1, 2, 0).contiguous().numpy()
