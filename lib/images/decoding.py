"""Decode image bytes to RGB with Pillow, or JPEGs as TensorFlow does."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import numpy as np
from PIL import Image, UnidentifiedImageError

from lib.errors import UnreadableImage

# images.max_pixels is the limit that counts, checked before decoding; Pillow's own would warn at another number.
Image.MAX_IMAGE_PIXELS = None


def decode(data: bytes, max_pixels: int, jpeg: str = "pillow") -> Image.Image:
    """Return image bytes as RGB, as Pillow's convert makes it; EXIF orientation is ignored. Raises UnreadableImage.

    With `jpeg` "fastdct", grey and YCbCr JPEGs are decoded as TensorFlow does by default, by libjpeg's fast inverse
    transform. What Pillow cannot read is unreadable then, too.
    """
    fast = fast_decoder() if jpeg == "fastdct" else None
    if not data:
        raise UnreadableImage("empty: 0 bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of palettes with transparency, of odd EXIF: neither changes what convert does
            image = Image.open(io.BytesIO(data))
            if image.width * image.height > max_pixels:
                raise UnreadableImage(f"too many pixels: {image.width} x {image.height}, {max_pixels} allowed")
            if fast is not None and image.format == "JPEG" and image.mode in ("L", "RGB"):
                image.load()  # Pillow judges what is truncated: the other decoder fills that up with grey
                return Image.fromarray(fast(data, fastdct=True, strict=False))
            image.load()
            return image if image.mode == "RGB" else image.convert("RGB")  # which would copy
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


def fast_decoder() -> Callable[..., np.ndarray]:
    """Return simplejpeg's decoder of a JPEG to (h, w, 3) uint8.

    Raises ModuleNotFoundError that says what to install.
    """
    try:
        from simplejpeg import decode_jpeg
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("jpeg = \"fastdct\" needs simplejpeg: pip install -e '.[slim]'") from error
    return decode_jpeg
