"""How fast one core turns a JPEG into a network's pixels, beside Pillow alone."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from lib.benchmarks.timing import Timing, by_turns
from lib.demo.pictures import CLASSES, draw_picture
from lib.images.decoding import decode
from lib.images.geometry import Geometry
from lib.images.pixels import decode_for
from lib.images.resizing import timms_transform

WIDTH, HEIGHT = 500, 375  # pixels, of most of ImageNet's photographs
LIMIT = 2**30  # pixels that an image may have
GEOMETRY = Geometry((3, 224, 224), 0.875, "center", "bicubic")  # most networks', EfficientNet-Lite0's too
GOALS = {"timm": 1.3, "fast": 2.0}


def time_decoding(images: list[bytes], repeats: int) -> list[Timing]:
    """Return a row for each way to resize. It takes some 10 s for 50 images with five repeats."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [beside_pillow(images, way, goal, repeats) for way, goal in GOALS.items()]
    finally:
        torch.set_num_threads(threads)


def draw_photographs(count: int) -> list[bytes]:
    """Return `count` drawn JPEGs of a photograph's size, for machines without photographs."""
    found = []
    for index in range(count):
        file = io.BytesIO()
        picture = draw_picture(index % len(CLASSES), WIDTH, (0, index)).crop((0, 0, WIDTH, HEIGHT))
        picture.save(file, "JPEG", quality=90)
        found.append(file.getvalue())
    return found


def beside_pillow(images: list[bytes], way: str, goal: float, repeats: int) -> Timing:
    """Time one way to resize beside Pillow."""
    geometry = Geometry(**{**vars(GEOMETRY), "transform": way})

    def over_all(pixels: Callable[[bytes], np.ndarray]) -> Callable[[], None]:
        def work() -> None:
            for data in images:
                pixels(data)

        return work

    project = over_all(lambda data: decode_for(data, [geometry], LIMIT)[0])
    rates = by_turns(project, over_all(pillows), len(images), repeats)
    differing, largest = off(images, geometry)
    note = (
        f"{len(images)} images; beside timm's transform {differing:.2%} of the numbers differ, by {largest} at the most"
    )
    return Timing(
        f"decode + resize, {way}", "images/s a core", "Pillow's decode, resize and crop", *rates, goal=goal, note=note
    )


def pillows(data: bytes) -> np.ndarray:
    """Decode and resize to GEOMETRY by Pillow alone: the shorter side becomes the crop's size / crop_pct, then the
    centre.
    """
    with Image.open(io.BytesIO(data)) as opened:
        image = opened.convert("RGB")
    size = GEOMETRY.input_size[1]
    scale = size / GEOMETRY.crop_pct / min(image.size)
    width, height = (int(side * scale) for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    whole = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(whole.crop((left, top, left + size, top + size)))


def off(images: list[bytes], geometry: Geometry) -> tuple[float, int]:
    """Return which part of the numbers differs from timm's own transform, and by how many grey levels at most."""
    timms = timms_transform(GEOMETRY.options())
    differing, largest = [], 0
    for data in images:
        expected = np.asarray(timms(decode(data, LIMIT))).transpose(1, 2, 0)
        difference = np.abs(decode_for(data, [geometry], LIMIT)[0].astype(int) - expected)
        differing.append(np.mean(difference > 0))
        largest = max(largest, int(difference.max()))
    return float(np.mean(differing)), largest
