"""From an image's bytes to its pixels for several networks."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lib.errors import UnreadableImage
from lib.images.decoding import colour_pixels, decode, jpeg_header
from lib.images.geometry import Geometry


def decode_for(data: bytes, geometries: list[Geometry], max_pixels: int) -> list[np.ndarray]:
    """Return an image's pixels for each geometry, (height, width, 3) each. Raises UnreadableImage.

    It is decoded once for all geometries that want the same JPEG decoder and, of large JPEGs, the same reduction.
    """
    try:
        return _pixels(data, geometries, max_pixels)
    except MemoryError as error:
        raise UnreadableImage(f"no memory: {len(data)} bytes take more than there is") from error
    except RecursionError as error:
        raise UnreadableImage(f"corrupt: {error}") from error


def _pixels(data: bytes, geometries: list[Geometry], max_pixels: int) -> list[np.ndarray]:
    header = jpeg_header(data) if any(geometry.reduces for geometry in geometries) else None
    size = None if header is None else header[1]
    ways = [(geometry.jpeg, 1 if size is None else geometry.reduction(size)) for geometry in geometries]
    images: dict[tuple[str, int], Image.Image | np.ndarray] = {}
    for way in set(ways):
        alike = [geometry for geometry, its in zip(geometries, ways, strict=True) if its == way]
        pixels = colour_pixels(data, max_pixels, way[1]) if all(geometry.reduces for geometry in alike) else None
        images[way] = decode(data, max_pixels, *way) if pixels is None else pixels
    return [geometry.pixels(images[way], size) for geometry, way in zip(geometries, ways, strict=True)]
