"""timm's evaluation transform up to normalisation, without the pixels that its crop throws away.

This module imports neither timm nor torch, which take four seconds of a core and 0.6 GB and which most processes that
decode do without. `steps_of` looks up what timm's transform does, where the networks are loaded.
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

REDUCTIONS = (8, 4, 2)  # by which libjpeg can shrink a JPEG as it decodes
LONGEST = 16  # times as long as its crop may be what is resized as a whole
SPARE = 3  # times as many pixels along each side must remain as the resized image has


@dataclass(frozen=True)
class Steps:
    """What timm's transform does if it resizes and then takes the centre."""

    size: int | tuple[int, int]  # torchvision's Resize: the shorter side's length, or (height, width)
    crop: tuple[int, int]  # (height, width)
    filter: Image.Resampling


def timms_transform(options: dict[str, Any]) -> Any:
    """Return timm's evaluation transform of these options, which leaves the pixels uint8."""
    import timm.data

    # use_prefetcher leaves the pixels uint8: timm's own loaders normalise on the device as well.
    return timm.data.create_transform(**options, is_training=False, use_prefetcher=True)


def steps_of(options: dict[str, Any]) -> Steps | None:
    """Return the steps of timm's transform of these options, or None if it does anything else."""
    from torchvision import transforms

    resize, crop = timms_transform(options).transforms[:2]
    if type(resize) is not transforms.Resize or type(crop) is not transforms.CenterCrop:
        return None
    size = resize.size if isinstance(resize.size, int) else tuple(resize.size)
    size = size[0] if isinstance(size, tuple) and len(size) == 1 else size
    return Steps(size, tuple(crop.size), Image.Resampling[resize.interpolation.name.partition("_")[0]])


class EvaluationTransform:
    """timm's evaluation transform of an RGB image to (height, width, 3) uint8, equal bit by bit.

    With `fast`, PyTorch's vector kernels resize the image if there is one: bilinear and bicubic, for every crop mode
    except "border"; the rest stays equal bit by bit. Their weights have 16 bits, Pillow's 22. On 200 photographs at
    224, 260 and 299 pixels, 0.4 % of the numbers differ, by at most 2 grey levels. Large JPEGs are decoded smaller
    before (`reduction`).
    """

    def __init__(self, options: dict[str, Any], steps: Steps | None, fast: bool = False) -> None:
        self.options, self.steps, self.fast = options, steps, fast

    @cached_property
    def timms(self) -> Callable[[Image.Image], Any]:
        """timm's own transform, for options that have no such steps."""
        transform: Callable[[Image.Image], Any] = timms_transform(self.options)
        return transform

    @property
    def has_kernel(self) -> bool:
        """Whether PyTorch's kernels resize images of most shapes: then pixels are taken as an array, too."""
        return self.fast and self.steps is not None and self.steps.filter in KERNELS

    def reduction(self, of: tuple[int, int]) -> int:
        """Return by how much libjpeg may shrink a JPEG with (width, height) `of` as it decodes: 8, 4, 2, or 1.

        It is above 1 if the transform is fast and SPARE times the pixels that are needed remain along both sides, which
        must divide evenly: else all pixels would move by a fraction of one. Of 123 photographs, reduced for 64
        to 224 pixels, a quarter of the numbers then differ from those of the whole image, by at most 11 grey levels.
        """
        if not self.has_kernel or self.steps is None:
            return 1
        height, width = scaled(of, self.steps.size)
        spare = min(of[0] / width, of[1] / height) / SPARE if width and height else 0
        return next((by for by in REDUCTIONS if by <= spare and not any(side % by for side in of)), 1)

    def __call__(self, image: Image.Image | np.ndarray, of: tuple[int, int] | None = None) -> np.ndarray:
        """Transform an image, or its pixels (h, w, 3), which had (width, height) `of` before it was reduced."""
        if self.steps is None:
            return np.ascontiguousarray(np.asarray(self.timms(as_image(image))).transpose(1, 2, 0))
        height, width = image.shape[:2] if isinstance(image, np.ndarray) else (image.height, image.width)
        size = scaled(of or (width, height), self.steps.size)
        straight = self.steps.filter in REACH and rows_first((width, height), size)
        if straight and self.has_kernel and is_compact(size, self.steps.crop):
            return resized_fast(np.array(image), size, self.steps.crop, self.steps.filter)
        way = resized if straight else resized_whole
        return way(as_image(image), size, self.steps.crop, self.steps.filter)


def as_image(image: Image.Image | np.ndarray) -> Image.Image:
    """Return an image, or one made from pixels (h, w, 3) uint8."""
    return image if isinstance(image, Image.Image) else Image.fromarray(image)


def rows_first(of: tuple[int, int], size: tuple[int, int]) -> bool:
    """Return whether every version of Pillow resizes the rows of an image with (width, height) `of` before its columns.

    From version 13 it does not if the height shrinks by more than twice as many pixels as the width (Resample.c).
    Before, it does not if an image is over 100 times as high as it is wide.
    """
    height, width = size
    return of[1] - height <= max(0, 2 * (of[0] - width)) and of[1] <= 100 * of[0]


def is_compact(size: tuple[int, int], crop: tuple[int, int]) -> bool:
    """Return whether an image that was resized to `size` is not much larger than its `crop`.

    A very long image would take gigabytes if it were resized as a whole.
    """
    return max(size) <= LONGEST * max(crop)


def scaled(of: tuple[int, int], size: int | tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) that torchvision's Resize makes of an image with (width, height) `of`.

    `size` is Resize's own: the shorter side's length, or (height, width).
    """
    if not isinstance(size, int):
        return size
    width, height = of
    if width <= height:
        return int(size * height / width), size
    return size, int(size * width / height)


def crop_start(length: int, crop: int) -> int:
    """Return where the centre of `crop` pixels begins in so many, as torchvision's CenterCrop rounds."""
    return round((length - crop) / 2)


def resized(image: Image.Image, size: tuple[int, int], crop: tuple[int, int], resample: Image.Resampling) -> np.ndarray:
    """Resize an RGB image to `size` and take the centre: (*crop, 3) uint8, equal bit by bit to Pillow's, if
    `rows_first`.

    Pillow resizes each row by itself, rounds to uint8, and then resizes each column by itself (Resample.c). So only the
    rows that reach into the crop need be made narrower, and only the crop's columns lower. Both steps keep the whole
    image's offsets, since Pillow's `box` has single precision and would move the weights.
    """
    height, width = size
    top, left = crop_start(height, crop[0]), crop_start(width, crop[1])
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
    """Resize and crop as `resized` does, in Pillow's own order: also the pixels that the crop throws away."""
    height, width = size
    top, left = crop_start(height, crop[0]), crop_start(width, crop[1])
    return np.asarray(image.resize((width, height), resample).crop((left, top, left + crop[1], top + crop[0])))


def resized_fast(
    pixels: np.ndarray, size: tuple[int, int], crop: tuple[int, int], resample: Image.Resampling
) -> np.ndarray:
    """Resize and crop as `resized` does, by PyTorch's uint8 kernels on the CPU, which come from Pillow-SIMD."""
    import torch

    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]  # its memory is channels_last: AVX2's case
    whole = torch.nn.functional.interpolate(image, size, mode=KERNELS[resample], antialias=True)[0]
    top, left = crop_start(size[0], crop[0]), crop_start(size[1], crop[1])
    return whole[:, top : top + crop[0], left : left + crop[1]].permute(1, 2, 0).contiguous().numpy()
