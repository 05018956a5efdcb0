"""Thumbnails of the images that a mapping fixed or broke, in a table of their own that the report reads."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lib import experiment, storage
from lib.images import UnreadableImage, decode, read_images
from lib.listing import ListingError, list_images, read_classes

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


def table(
    images: experiment.Images, limit: int | None, chosen: list[dict[str, Any]], names: list[str] | None
) -> pa.Table:
    """EXAMPLES rows of the `chosen` images (lib.results.pick_examples) of the evaluation split."""
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


def _thumbnails(images: experiment.Images, limit: int | None, wanted: list[str]) -> dict[str, bytes]:
    try:
        listing = list_images(images.val, read_classes(images.classes) if images.classes else None, limit)
    except (ListingError, storage.StorageError):
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
