"""TF-Slim's evaluation preprocessing in numpy."""

from __future__ import annotations

import numpy as np


def slim_pixels(image: np.ndarray, size: tuple[int, int], crop_pct: float = 0.875) -> np.ndarray:
    """Return TF-Slim's evaluation preprocessing up to its last line, 2 (x - 0.5): (*size, 3) float32 for (h, w, 3)
    uint8.

    Source: preprocess_for_eval in tf-slim's inception_preprocessing.py. It scales to 0..1, applies
    tf.image.central_crop, then TensorFlow 1's resize_bilinear, which neither keeps the aspect ratio nor filters: output
    i lies at input i * in / out.
    """
    (top, bottom), (left, right) = (_central(length, crop_pct) for length in image.shape[:2])
    crop = image[top:bottom, left:right].astype(np.float32) * np.float32(1 / 255)
    (y0, y1, dy), (x0, x1, dx) = (_between(length, out) for length, out in zip(crop.shape[:2], size, strict=True))
    rows = crop[:, x0] + (crop[:, x1] - crop[:, x0]) * dx[None, :, None]
    return rows[y0] + (rows[y1] - rows[y0]) * dy[:, None, None]


def _central(length: int, share: float) -> tuple[int, int]:
    """Return the ends of the central `share` of a length."""
    start = int((length - length * share) / 2)
    return start, length - start


def _between(length: int, out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each of `out` places the two input places around it, and its distance from the first."""
    place = np.arange(out, dtype=np.float32) * np.float32(np.float32(length) / np.float32(out))
    lower = np.floor(place).astype(np.int64)
    return lower, np.minimum(lower + 1, length - 1), place - lower.astype(np.float32)
