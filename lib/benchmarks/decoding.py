"""How fast one core turns a JPEG into a network's pixels, beside Pillow alone."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from lib.benchmarks.timing import Timing, by_turns
from lib.demo.pictures import CLASSES, draw_picture
from lib.images.decoding import decode
from lib.images.device_decoding import decode_on_device
from lib.images.geometry import Geometry
from lib.images.pixels import decode_for
from lib.images.resizing import timms_transform
from lib.networks.devices import best_device

WIDTH, HEIGHT = 500, 375  # pixels, of most of ImageNet's photographs
LIMIT = 2**30  # pixels that an image may have
GEOMETRY = Geometry((3, 224, 224), 0.875, "center", "bicubic")  # most networks', EfficientNet-Lite0's too
BATCH = 64  # images that a GPU decodes at once
GOALS = {"timm": 1.3, "fast": 2.0}


def time_decoding(images: list[bytes], repeats: int) -> list[Timing]:
    """Return a row for each way to resize, and on a GPU one for its decoder: some 10 s for 50 images, five repeats."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = [beside_pillow(images, way, goal, repeats) for way, goal in GOALS.items()]
        device = best_device().type
        return rows if device == "cpu" else [*rows, beside_all_cores(images, device, repeats)]
    finally:
        torch.set_num_threads(threads)


def beside_all_cores(images: list[bytes], device: str, repeats: int) -> Timing:
    """Time decoding and resizing where a network computes, in batches, beside Pillow on all cores of this machine."""
    geometry, cores = replace(GEOMETRY, jpeg="nvjpeg").known(), os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        by_pillow = GEOMETRY.known()
        rates = by_turns(
            lambda: [
                decode_on_device(images[first : first + BATCH], geometry, device, LIMIT)
                for first in range(0, len(images), BATCH)
            ],
            lambda: list(pool.map(lambda data: decode_for(data, [by_pillow], LIMIT), images)),
            len(images),
            repeats,
        )
    differing, largest = off(images, lambda data: decode_on_device([data], geometry, device, LIMIT)[0][0])
    return Timing(
        f"decode + resize on one {device.upper()}, nvjpeg", "images/s", f"Pillow on {cores} cores", *rates,
        note=f"{said(images, differing, largest)}; pixels come back to the CPU's memory",
    )  # fmt: skip


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
    differing, largest = off(images, lambda data: decode_for(data, [geometry], LIMIT)[0])
    return Timing(
        f"decode + resize, {way}", "images/s a core", "Pillow's decode, resize and crop", *rates, goal=goal,
        note=said(images, differing, largest),
    )  # fmt: skip


def said(images: list[bytes], differing: float, largest: int) -> str:
    """Say what `off` found."""
    return f"{len(images)} images; beside timm's transform {differing:.2%} of the numbers differ, by {largest} at most"


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


def off(images: list[bytes], pixels: Callable[[bytes], np.ndarray]) -> tuple[float, int]:
    """Return which part of GEOMETRY's numbers differs from timm's own transform, and by how many levels at most."""
    timms = timms_transform(GEOMETRY.options())
    differing, largest = [], 0
    for data in images:
        expected = np.asarray(timms(decode(data, LIMIT))).transpose(1, 2, 0)
        difference = np.abs(pixels(data).astype(int) - expected)
        differing.append(np.mean(difference > 0))
        largest = max(largest, int(difference.max()))
    return float(np.mean(differing)), largest
