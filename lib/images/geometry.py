"""The part of a network's preprocessing that moves pixels: resize and crop, before normalisation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from lib.images.resizing import EvaluationTransform, Steps, steps_of
from lib.images.slim_preprocessing import slim_pixels


@dataclass(frozen=True)
class Geometry:
    """The part of timm's evaluation transform before normalisation: where it moves the pixels."""

    input_size: tuple[int, int, int]  # channels, height, width
    crop_pct: float
    crop_mode: str
    interpolation: str
    fill: tuple[float, float, float] | None = None  # of a border, 0..1: timm takes the mean
    transform: str = "timm"  # or "fast", "slim"
    jpeg: str = "pillow"  # or "fastdct", "nvjpeg"
    steps: Steps | None = None  # of timm's transform, where they are known

    def known(self) -> Geometry:
        """Return the geometry with timm's steps looked up, so that processes that decode need not import timm."""
        return self if self.transform == "slim" else replace(self, steps=steps_of(self.options()))

    def options(self) -> dict[str, Any]:
        """Return the arguments of timm.data.create_transform."""
        names = ("input_size", "crop_pct", "crop_mode", "interpolation")
        return {name: getattr(self, name) for name in names} | ({} if self.fill is None else {"mean": self.fill})

    @property
    def dtype(self) -> type[np.generic]:
        """The type of the pixels: timm's transform rounds to uint8, 0..255; TF-Slim's gives float32, 0..1."""
        return np.float32 if self.transform == "slim" else np.uint8

    @property
    def on_device(self) -> bool:
        """Whether images are decoded where the network computes (lib.images.device_decoding)."""
        return self.jpeg == "nvjpeg"

    @property
    def reduces(self) -> bool:
        """Whether large JPEGs may be shrunk as they are decoded."""
        return self.transform == "fast" and self.jpeg == "pillow"

    def reduction(self, of: tuple[int, int]) -> int:
        """Return by how much a JPEG with (width, height) `of` may be shrunk as it is decoded; 1 is not at all."""
        return _timms(self).reduction(of) if self.reduces else 1

    def pixels(self, image: Image.Image | np.ndarray, of: tuple[int, int] | None = None) -> np.ndarray:
        """Return an RGB image as (height, width, 3), equal to the network's transform up to normalisation.

        timm's and TF-Slim's are equal bit by bit; "fast" is timm's except for rounding, and for large JPEGs that were
        reduced (lib.images.resizing). `of` is the (width, height) that an image had before it was reduced. Where the
        geometry `reduces`, pixels (h, w, 3) may stand for the image.
        """
        if self.transform == "slim":
            return slim_pixels(np.asarray(image), self.input_size[1:], self.crop_pct)
        return _timms(self)(image, of)


@lru_cache(maxsize=16)
def _timms(geometry: Geometry) -> EvaluationTransform:
    known = geometry if geometry.steps else geometry.known()
    return EvaluationTransform(geometry.options(), known.steps, fast=geometry.transform == "fast")
