"""Image bytes to the uint8 pixels that a network wants: fetched by range, decoded once, cropped for each geometry."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, UnidentifiedImageError

from lib import storage
from lib.listing import PASSED_ON
from lib.resizing import EvaluationTransform, Steps, steps

# images.max_pixels is the limit that counts, checked before decoding; Pillow's own would warn at another number.
Image.MAX_IMAGE_PIXELS = None


class UnreadableImage(ValueError):  # noqa: N818 - what it is
    """An image that can't be read; the message is "category: detail", the category one of a few that are counted."""


@dataclass(frozen=True)
class Geometry:
    """The part of timm's evaluation transform before normalisation: what it does to the pixels' places."""

    input_size: tuple[int, int, int]  # channels, height, width
    crop_pct: float
    crop_mode: str
    interpolation: str
    fill: tuple[float, float, float] | None = None  # of a border, 0..1: timm takes the mean
    transform: str = "timm"  # or "fast", "slim"
    jpeg: str = "pillow"  # or "fastdct"
    steps: Steps | None = None  # of timm's transform, where they are known

    def known(self) -> Geometry:
        """The same, with timm's steps looked up: who decodes need not import timm."""
        return self if self.transform == "slim" else replace(self, steps=steps(self.options()))

    def options(self) -> dict[str, Any]:
        """For timm.data.create_transform."""
        names = ("input_size", "crop_pct", "crop_mode", "interpolation")
        return {name: getattr(self, name) for name in names} | ({} if self.fill is None else {"mean": self.fill})

    @property
    def dtype(self) -> type[np.generic]:
        """Of the pixels: timm's transform rounds to uint8, 0..255; TF-Slim's gives float32, 0..1."""
        return np.float32 if self.transform == "slim" else np.uint8

    def pixels(self, image: Image.Image) -> np.ndarray:
        """RGB image -> (height, width, 3), equal to the transform's up to normalisation; timm's bit by bit.

        "fast" is timm's, but for the rounding of lib.resizing.EvaluationTransform.
        """
        if self.transform == "slim":
            return slim_pixels(np.asarray(image), self.input_size[1:], self.crop_pct)
        return _timms(self)(image)


@lru_cache(maxsize=16)
def _timms(geometry: Geometry) -> EvaluationTransform:
    known = geometry if geometry.steps else geometry.known()
    return EvaluationTransform(geometry.options(), known.steps, fast=geometry.transform == "fast")


def slim_pixels(image: np.ndarray, size: tuple[int, int], crop_pct: float = 0.875) -> np.ndarray:
    """TF-Slim's evaluation preprocessing up to its last line, 2 (x - 0.5): (h, w, 3) uint8 -> (*size, 3) float32.

    preprocess_for_eval in tf-slim's inception_preprocessing.py: scale to 0..1, tf.image.central_crop, then TensorFlow
    1's resize_bilinear, which neither keeps the aspect ratio nor filters: output i lies at input i * in / out.
    """
    (top, bottom), (left, right) = (_central(length, crop_pct) for length in image.shape[:2])
    crop = image[top:bottom, left:right].astype(np.float32) * np.float32(1 / 255)
    (y0, y1, dy), (x0, x1, dx) = (_between(length, out) for length, out in zip(crop.shape[:2], size, strict=True))
    rows = crop[:, x0] + (crop[:, x1] - crop[:, x0]) * dx[None, :, None]
    return rows[y0] + (rows[y1] - rows[y0]) * dy[:, None, None]


def _central(length: int, share: float) -> tuple[int, int]:
    start = int((length - length * share) / 2)
    return start, length - start


def _between(length: int, out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `out` places the two input places that it lies between, and how far it is from the first."""
    place = np.arange(out, dtype=np.float32) * np.float32(np.float32(length) / np.float32(out))
    lower = np.floor(place).astype(np.int64)
    return lower, np.minimum(lower + 1, length - 1), place - lower.astype(np.float32)


def read_images(listing: pa.Table) -> list[bytes | Exception]:
    """Each LISTING row's bytes; where they can't be fetched the exception, which makes a rejected row of it."""
    found: list[bytes | Exception] = []
    for row in listing.select(["path", "start", "length", "column"]).to_pylist():
        try:
            found.append(_read(**row))
        except (OSError, storage.StorageError, pa.ArrowInvalid) as error:
            found.append(error)
    return found


def _read(path: str, start: int | None, length: int | None, column: str | None) -> bytes:
    if start is None:
        return storage.read_bytes(path)
    if column is not None:
        return _parquet_row(path, column, start)
    filesystem, name = storage.resolve(path)
    with filesystem.open_input_file(name) as file:
        return bytes(file.read_at(length, start))


def _parquet_row(path: str, column: str, row: int) -> bytes:
    starts = _row_group_starts(path)
    group = int(np.searchsorted(starts, row, side="right")) - 1
    value = _row_group(path, column, group)[row - int(starts[group])].as_py()
    if value is None:
        raise OSError(f"row {row} of {path} has no image")
    return bytes(value)


@lru_cache(maxsize=4)
def _row_group_starts(path: str) -> np.ndarray:
    filesystem, name = storage.resolve(path)
    footer = pq.read_metadata(name, filesystem=filesystem)
    return np.cumsum([0, *(footer.row_group(k).num_rows for k in range(footer.num_row_groups - 1))])


@lru_cache(maxsize=2)  # successive batches come from the same row group
def _row_group(path: str, column: str, group: int) -> pa.ChunkedArray:
    """The images' bytes of one row group, from a binary column or Hugging Face's struct of bytes and path."""
    filesystem, name = storage.resolve(path)
    with pq.ParquetFile(name, filesystem=filesystem) as file:
        images = file.read_row_group(group, columns=[column])[column]
    if pa.types.is_struct(images.type):
        return pa.chunked_array([chunk.field("bytes") for chunk in images.chunks])
    return images


def decode(data: bytes, max_pixels: int, jpeg: str = "pillow") -> Image.Image:
    """Image bytes -> RGB, as Pillow's convert makes it, EXIF orientation ignored. Raises UnreadableImage.

    With `jpeg` "fastdct" grey and YCbCr JPEGs are decoded as TensorFlow does by default, with libjpeg's fast inverse
    transform; what Pillow can't read is unreadable all the same.
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
    """simplejpeg's decoder of a JPEG to (h, w, 3) uint8. Raises ModuleNotFoundError that says what to install."""
    try:
        from simplejpeg import decode_jpeg
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("jpeg = \"fastdct\" needs simplejpeg: pip install -e '.[slim]'") from error
    return decode_jpeg


class DecodeImages:
    """Fetches and decodes listed images, each once for all geometries of one decoder: the CPU's unit of work."""

    def __init__(self, geometries: list[Geometry], max_pixels: int) -> None:
        self.geometries, self.max_pixels = geometries, max_pixels

    def __call__(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """LISTING rows -> {"image_id", "label" (-1: unknown), "reason" ("": fine), "pixels_k" (n, h, w, 3)}.

        Never drops a row: what can't be read has its reason, and zeros for pixels. PASSED_ON columns go through.
        """
        pixels = [np.zeros((len(rows), *g.input_size[1:], 3), g.dtype) for g in self.geometries]
        reasons = np.full(len(rows), "", object)
        for place, data in enumerate(read_images(rows)):
            try:
                if isinstance(data, Exception):
                    raise UnreadableImage(f"missing: {data}") from data
                images = {jpeg: decode(data, self.max_pixels, jpeg) for jpeg in {g.jpeg for g in self.geometries}}
                for array, geometry in zip(pixels, self.geometries, strict=True):
                    array[place] = geometry.pixels(images[geometry.jpeg])
            except UnreadableImage as error:
                reasons[place] = str(error)
        return {
            "image_id": np.asarray(rows["image_id"].to_pylist(), object),
            "label": rows["label"].fill_null(-1).to_numpy(),
            "reason": reasons,
            **{name: rows[name].to_numpy() for name in PASSED_ON if name in rows.column_names},
            **{f"pixels_{k}": array for k, array in enumerate(pixels)},
        }
