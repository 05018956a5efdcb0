"""The demo's labelled pictures: shapes among clutter, in any colour, size and rotation, under noise."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from lib.storage.files import write_bytes
from lib.storage.uris import join_uri

# Label k is the k-th of these names in the order of the alphabet, which is the order here.
CLASSES = (
    "arrow", "bolt", "circle", "crescent", "cross", "heart",
    "hexagon", "ring", "square", "star", "trapezoid", "triangle",
)  # fmt: skip
TILT = 0.6  # radians that a shape may be turned, either way
CONTRAST = 150  # between shape and background at the least, summed over red, green and blue


def outline(name: str) -> np.ndarray:
    """Return the shape's corners, (k, 2) in [-1, 1], upright."""
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    if name in ("triangle", "square", "hexagon"):
        return _polygon({"triangle": 3, "square": 4, "hexagon": 6}[name])
    if name == "star":
        return np.stack([np.sin(turn[::4]), -np.cos(turn[::4])], 1) * np.tile([1, 0.42], 5)[:, None]
    if name == "heart":
        x, y = (
            16 * np.sin(turn) ** 3,
            13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn),
        )
        return np.stack([x, -y], 1) / 17
    if name == "crescent":
        half = np.linspace(-0.8 * np.pi, 0.8 * np.pi, 24)
        outer = np.stack([np.cos(half), np.sin(half)], 1)
        return np.concatenate([outer, outer[::-1] * 0.72 - [0.28, 0]])
    corners = {
        "arrow": [(-1, -0.3), (0.1, -0.3), (0.1, -0.75), (1, 0), (0.1, 0.75), (0.1, 0.3), (-1, 0.3)],
        "bolt": [(0.2, -1), (-0.7, 0.2), (-0.1, 0.2), (-0.3, 1), (0.7, -0.3), (0.1, -0.3)],
        "cross": [(-0.3, -1), (0.3, -1), (0.3, -0.3), (1, -0.3), (1, 0.3), (0.3, 0.3), (0.3, 1), (-0.3, 1), (-0.3, 0.3),
                  (-1, 0.3), (-1, -0.3), (-0.3, -0.3)],
        "trapezoid": [(-0.45, -0.6), (0.45, -0.6), (1, 0.6), (-1, 0.6)],
    }  # fmt: skip
    return np.asarray(corners[name]) if name in corners else _polygon(40)


def _polygon(corners: int) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([np.sin(turn), -np.cos(turn)], 1)


def draw_picture(label: int, size: int, seed: tuple[int, ...]) -> Image.Image:
    """Draw one picture of class `label`, `size` x `size` pixels, fully determined by its arguments."""
    rng = np.random.default_rng([label, size, *seed])
    scale = 2  # drawn larger and shrunk: smooth edges
    ground = colour(rng)
    picture = background(rng, ground, size * scale)
    brush = ImageDraw.Draw(picture)
    clutter(rng, brush, size * scale)
    place_shape(rng, brush, CLASSES[label], unlike(rng, ground), size * scale)
    for _ in range(rng.integers(0, 3)):  # strokes across the shape too
        stroke(rng, brush, size * scale)
    return noisy(rng, picture.resize((size, size), Image.Resampling.BOX))


def colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """Return a random colour."""
    red, green, blue = rng.integers(20, 236, 3)
    return int(red), int(green), int(blue)


def unlike(rng: np.random.Generator, other: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return a random colour that stands out from `other`."""
    while True:
        chosen = colour(rng)
        if np.abs(np.subtract(chosen, other)).sum() > CONTRAST:
            return chosen


def background(rng: np.random.Generator, ground: tuple[int, int, int], size: int) -> Image.Image:
    """Draw a gradient from one colour towards another, in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.linspace(-1, 1, size)
    mix = (0.8 + 0.15 * (np.cos(angle) * axis[:, None] + np.sin(angle) * axis[None, :]))[..., None]
    return Image.fromarray((np.array(ground) * mix + np.array(colour(rng)) * (1 - mix)).clip(0, 255).astype(np.uint8))


def clutter(rng: np.random.Generator, brush: ImageDraw.ImageDraw, size: int) -> None:
    """Draw blobs, lines and small polygons that belong to no class."""
    for _ in range(rng.integers(2, 6)):
        corners = rng.normal(rng.uniform(0, size, 2), size * 0.05, (rng.integers(3, 6), 2))
        brush.polygon([tuple(corner) for corner in corners.tolist()], fill=colour(rng))
    for _ in range(rng.integers(1, 4)):
        stroke(rng, brush, size)


def stroke(rng: np.random.Generator, brush: ImageDraw.ImageDraw, size: int) -> None:
    """Draw a random line."""
    ends = rng.uniform(0, size, 4).tolist()
    brush.line(ends, fill=colour(rng), width=int(rng.integers(1, max(2, size // 28))))


def place_shape(
    rng: np.random.Generator, brush: ImageDraw.ImageDraw, name: str, fill: tuple[int, int, int], size: int
) -> None:
    """Draw the class's shape, turned and stretched, at any place that leaves it inside the picture."""
    radius = size * rng.uniform(0.24, 0.4)
    centre = rng.uniform(radius, size - radius, 2)
    angle = rng.uniform(-TILT, TILT)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = rng.uniform(0.8, 1.0, 2)
    corners = radius * (outline(name) * stretch) @ turn.T + centre
    brush.polygon([tuple(corner) for corner in corners.tolist()], fill=fill)
    if name == "ring":
        hole = radius * 0.55 * (outline(name) * stretch) @ turn.T + centre
        brush.polygon([tuple(corner) for corner in hole.tolist()], fill=colour(rng))


def noisy(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """Blur the picture a little at random, then add noise to every pixel."""
    blurred = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.9)))
    pixels = np.asarray(blurred).astype(np.float32)
    pixels += rng.normal(0, rng.uniform(4, 16), pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def draw_split(folder: str, count: int, size: int, seed: int, first: int = 0, last: int | None = None) -> None:
    """Write the pictures `first` to `last` of a split of `count` as files `<folder>/<class>/<class>_<index>.JPEG`.

    Picture `index` is of class `index` modulo the number of classes. Several workers can draw ranges of one split.
    """
    for index in range(first, count if last is None else last):
        label = index % len(CLASSES)
        file = io.BytesIO()
        draw_picture(label, size, (seed, index)).save(file, "JPEG", quality=90)
        name = CLASSES[label]
        write_bytes(join_uri(folder, name, f"{name}_{index:05d}.JPEG"), file.getvalue())
