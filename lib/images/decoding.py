"""Decode image bytes to RGB with Pillow, or JPEGs as TensorFlow does."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from lib.errors import UnreadableImage

# images.max_pixels is the limit that counts, checked before decoding; Pillow's own would warn at another number.
Image.MAX_IMAGE_PIXELS = None


class PixelLimit:
    """While it is entered, in one thread or several, Pillow refuses to decode pictures of more pixels.

    That goes also for pictures inside pictures, as an .ico wraps a PNG, which Pillow decodes while it opens the file.
    """

    def __init__(self) -> None:
        self.lock, self.entered = threading.Lock(), 0

    @contextmanager
    def allowing(self, max_pixels: int) -> Iterator[None]:
        """Let Pillow raise DecompressionBombError above `max_pixels`, which must be the same for all threads."""
        with self.lock:
            self.entered += 1
            Image.MAX_IMAGE_PIXELS = max_pixels / 2  # type: ignore[assignment] # it refuses more than twice as many
        try:
            yield
        finally:
            with self.lock:
                self.entered -= 1
                if not self.entered:
                    Image.MAX_IMAGE_PIXELS = None


PIXEL_LIMIT = PixelLimit()


def decode(data: bytes, max_pixels: int, jpeg: str = "pillow", reduction: int = 1) -> Image.Image:
    """Return image bytes as RGB, as Pillow's convert makes it; EXIF orientation is ignored. Raises UnreadableImage.

    With `jpeg` "fastdct", grey and YCbCr JPEGs are decoded as TensorFlow does by default, by libjpeg's fast inverse
    transform. What Pillow cannot read is unreadable then, too. A `reduction` of 2, 4 or 8 is for JPEGs and the decoder
    "pillow": libjpeg makes them smaller as it decodes.
    """
    fast = fast_decoder() if jpeg == "fastdct" else None
    if not data:
        raise UnreadableImage("empty: 0 bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of palettes with transparency, of odd EXIF: neither changes what convert does
            with PIXEL_LIMIT.allowing(max_pixels):
                image = Image.open(io.BytesIO(data))
                if reduction > 1:
                    image.draft(image.mode, (image.width // reduction, image.height // reduction))
                image.load()
            if fast is not None and image.format == "JPEG" and image.mode in ("L", "RGB"):
                # Pillow has judged what is truncated: the other decoder fills that up with grey.
                return Image.fromarray(fast(data, fastdct=True, strict=False))
            return image if image.mode == "RGB" else image.convert("RGB")  # which would copy
    except Image.DecompressionBombError as error:
        found = str(error).partition(" pixels)")[0].rpartition("(")[2]
        raise UnreadableImage(f"too many pixels: {found}, {max_pixels} allowed") from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"not an image: {len(data)} bytes") from error
    except OSError as error:
        category = "truncated" if "truncated" in str(error).lower() else "corrupt"
        raise UnreadableImage(f"{category}: {error}") from error
    except UnreadableImage:
        raise
    except MemoryError:
        raise
    except (
        Exception
    ) as error:  # Pillow's decoders raise SyntaxError, struct.error, ValueError and more on mangled files
        raise UnreadableImage(f"corrupt: {type(error).__name__} {error}") from error


def jpeg_header(data: bytes) -> tuple[str, tuple[int, int]] | None:
    """Return Pillow's mode and the (width, height) of a JPEG, of which no more is read; None if it cannot open it."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return image.mode, image.size
    except Exception:  # of whatever kind: `decode` says what is wrong with it
        return None


def colour_pixels(data: bytes, max_pixels: int, reduction: int = 1) -> np.ndarray | None:
    """Return a colour JPEG's pixels (h, w, 3) uint8 by simplejpeg: those of `decode` bit by bit, in 3/4 of its time.

    None if simplejpeg is not installed, and of whatever else than a sound YCbCr JPEG: `decode` says what that is.
    """
    library = simplejpeg()
    if library is None:
        return None
    try:
        height, width, colours, _ = library.decode_jpeg_header(data)
        if colours != "YCbCr" or height * width > max_pixels:
            return None
        smallest = {"min_height": height // reduction, "min_width": width // reduction} if reduction > 1 else {}
        pixels: np.ndarray = library.decode_jpeg(data, "RGB", **smallest)
    except ValueError:  # no JPEG, or one that is not whole
        return None
    return pixels


@cache
def simplejpeg() -> Any:
    """Return the package simplejpeg, None if it is not installed."""
    return import_module("simplejpeg") if find_spec("simplejpeg") else None


def fast_decoder() -> Callable[..., np.ndarray]:
    """Return simplejpeg's decoder of a JPEG to (h, w, 3) uint8.

    Raises ModuleNotFoundError that says what to install.
    """
    library = simplejpeg()
    if library is None:
        raise ModuleNotFoundError("jpeg = \"fastdct\" needs simplejpeg: pip install -e '.[slim]'")
    decode_jpeg: Callable[..., np.ndarray] = library.decode_jpeg
    return decode_jpeg
