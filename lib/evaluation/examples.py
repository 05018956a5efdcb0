"""Images that a mapping fixed or broke: which are shown, and their thumbnails in a table that the report reads."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.errors import ListingError, StorageError, UnreadableImage
from lib.evaluation.joining import Judged
from lib.evaluation.judging import Mapped, own_predictions
from lib.experiment.settings import Images
from lib.images.decoding import decode
from lib.images.fetching import read_images
from lib.images.labels import read_classes
from lib.images.listing import list_images


def choose_examples(image_id: np.ndarray, chosen: np.ndarray, count: int, seed: int) -> list[str]:
    """Up to `count` ids of the `chosen` (n,) images: at random by the seed, the same in whatever order they come."""
    ids = image_id[chosen].tolist()
    return sorted(ids, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())[:count]


def pick_examples(judged: Judged, one: Mapped, count: int, seed: int) -> list[dict[str, Any]]:
    """Some images that the mapping fixed and some that it broke, with what was predicted of them."""
    right_own, right = judged.right(own_predictions(one.target)), judged.right(one.name)
    place = {image_id: row for row, image_id in enumerate(judged.image_id)}
    return [
        {
            "source": one.source,
            "target": one.target,
            "kind": kind,
            "image_id": image_id,
            "label": int(judged.label[place[image_id]]),
            "own": int(judged.predicted[own_predictions(one.target)][place[image_id]]),
            "mapped": int(judged.predicted[one.name][place[image_id]]),
        }
        for kind, chosen in (("fixed", ~right_own & right), ("broken", right_own & ~right))
        for image_id in choose_examples(judged.image_id, chosen, count, seed)
    ]


EXAMPLES = pa.schema(
    [
        ("source", pa.string()),
        ("target", pa.string()),
        ("kind", pa.string()),  # "fixed" or "broken"
        ("image_id", pa.string()),
        ("label", pa.int32()),
        ("own", pa.int32()),  # class predicted with the target's own features
        ("mapped", pa.int32()),
        ("label_name", pa.string()),
        ("own_name", pa.string()),
        ("mapped_name", pa.string()),
        ("jpeg", pa.binary()),  # null where the image can't be read any more
    ]
)
HEIGHT, WIDTH = 96, 160  # pixels, at the most


def examples_table(
    images: Images, limit: int | None, chosen: list[dict[str, Any]], names: list[str] | None
) -> pa.Table:
    """EXAMPLES rows of the `chosen` images (lib.evaluation.examples.pick_examples) of the evaluation split."""
    wanted = sorted({row["image_id"] for row in chosen})
    pictures = _thumbnails(images, limit, wanted) if wanted else {}
    rows = [
        {
            **row,
            **{f"{key}_name": _name(names, row[key]) for key in ("label", "own", "mapped")},
            "jpeg": pictures.get(row["image_id"]),
        }
        for row in chosen
    ]
    return pa.Table.from_pylist(rows, schema=EXAMPLES)


def _name(names: list[str] | None, label: int) -> str | None:
    return names[label] if names and 0 <= label < len(names) else None


def _thumbnails(images: Images, limit: int | None, wanted: list[str]) -> dict[str, bytes]:
    try:
        listing = list_images(images.val, read_classes(images.classes) if images.classes else None, limit)
    except (ListingError, StorageError):
        return {}  # the images may be gone by now: results don't need them
    listing = listing.filter(pc.is_in(listing["image_id"], value_set=pa.array(wanted, pa.string())))
    found = {}
    for image_id, data in zip(listing["image_id"].to_pylist(), read_images(listing), strict=True):
        if isinstance(data, bytes):
            try:
                found[image_id] = thumbnail(data, images.max_pixels)
            except UnreadableImage:
                continue  # it was readable when its features were extracted
    return found


def thumbnail(data: bytes, max_pixels: int) -> bytes:
    """Image bytes -> a JPEG of at most 160 x 96 pixels. Raises UnreadableImage."""
    image = decode(data, max_pixels)
    image.thumbnail((WIDTH, HEIGHT))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()
