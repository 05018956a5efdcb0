"""Images that a mapping fixed or broke: which are shown, and their thumbnails."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from lib.errors import UnreadableImage
from lib.evaluation.joining import Judged
from lib.evaluation.result_tables import THUMBNAILS
from lib.evaluation.results import Example
from lib.images.decoding import decode
from lib.images.fetching import read_images


def choose_examples(image_id: np.ndarray, chosen: np.ndarray, count: int, seed: int) -> list[str]:
    """Choose up to `count` ids of the images where `chosen` (n,) is true, at random by the seed.

    The choice does not depend on the order of the images, and prefers the same images for all pairs, so that a page of
    many pairs needs few thumbnails.
    """
    ids = image_id[chosen].tolist()
    return sorted(ids, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())[:count]


def pick_examples(
    pair: tuple[str, str], judged: Judged, mapped: np.ndarray, number: int, seed: int, names: list[str] | None
) -> list[Example]:
    """Choose up to `number` images that a pair's mapping fixed and as many that it broke.

    `mapped` (n,) are the answers with mapped features. `names` are the classes' names, None if they are unknown.
    """
    right_own, right = judged.right(judged.target), judged.right(mapped)
    place = {image_id: row for row, image_id in enumerate(judged.image_id)}
    found: list[Example] = []
    for kind, chosen in (("fixed", ~right_own & right), ("broken", right_own & ~right)):
        for image_id in choose_examples(judged.image_id, chosen, number, seed):
            row = place[image_id]
            label, own, answer = (int(of[row]) for of in (judged.label, judged.target, mapped))
            found.append(
                {
                    "source": pair[0],
                    "target": pair[1],
                    "kind": kind,
                    "image_id": image_id,
                    "label": label,
                    "own": own,
                    "mapped": answer,
                    "label_name": _name(names, label),
                    "own_name": _name(names, own),
                    "mapped_name": _name(names, answer),
                }
            )
    return found


def _name(names: list[str] | None, label: int) -> str | None:
    return names[label] if names and 0 <= label < len(names) else None


HEIGHT, WIDTH = 96, 160  # pixels, at most


def thumbnails_table(wanted: list[str], pictures: Mapping[str, bytes]) -> pa.Table:
    """Return a THUMBNAILS table of the `wanted` images. A thumbnail is null if its image cannot be read any more."""
    return pa.table([wanted, [pictures.get(image_id) for image_id in wanted]], schema=THUMBNAILS)


def thumbnails(images: pa.Table, max_pixels: int) -> dict[str, bytes]:
    """Return the thumbnails of these LISTING rows, by id, without those that cannot be read any more."""
    found = {}
    for image_id, data in zip(images["image_id"].to_pylist(), read_images(images), strict=True):
        if isinstance(data, bytes):
            try:
                found[image_id] = thumbnail(data, max_pixels)
            except UnreadableImage:
                continue  # it was readable when its features were extracted
    return found


def thumbnail(data: bytes, max_pixels: int) -> bytes:
    """Return an image as a JPEG of at most 160 x 96 pixels. Raises UnreadableImage."""
    image = decode(data, max_pixels)
    image.thumbnail((WIDTH, HEIGHT))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()
