"""From an image's bytes to its pixels for several networks."""

from __future__ import annotations

import numpy as np

from lib.errors import UnreadableImage
from lib.images.decoding import decode
from lib.images.geometry import Geometry


def decode_for(data: bytes, geometries: list[Geometry], max_pixels: int) -> list[np.ndarray]:
    """Return an image's pixels for each geometry, (height, width, 3) each. Raises UnreadableImage.

    It is decoded once for all geometries that want the same JPEG decoder.
    """
    try:
        return _pixels(data, geometries, max_pixels)
    except MemoryError as error:
        raise UnreadableImage(f"no memory: {len(data)} bytes take more than there is") from error
    except RecursionError as error:
        raise UnreadableImage(f"corrupt: {error}") from error


def _pixels(data: bytes, geometries: list[Geometry], max_pixels: int) -> list[np.ndarray]:
    images = {jpeg: decode(data, max_pixels, jpeg) for jpeg in {geometry.jpeg for geometry in geometries}}
    return [geometry.pixels(images[geometry.jpeg]) for geometry in geometries]
