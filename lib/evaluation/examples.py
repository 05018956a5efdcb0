"""Images that a mapping fixed or broke: which are shown, and their thumbnails in a table that the report reads."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.errors import ListingError, StorageError, UnreadableImage
from lib.evaluation.joining import Judged
from lib.evaluation.results import Example
from lib.experiment.settings import Images
from lib.experiment.variants import MapKey, own_name
from lib.images.decoding import decode
from lib.images.fetching import read_images
from lib.images.labels import read_classes
from lib.images.listing import list_images


def choose_examples(image_id: np.ndarray, chosen: np.ndarray, count: int, seed: int) -> list[str]:
    """Choose up to `count` ids of the images where `chosen` (n,) is true, at random by the seed.

    The choice does not depend on the order of the images.
    """
    ids = image_id[chosen].tolist()
    return sorted(ids, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())[:count]


def pick_examples(judged: Judged, key: MapKey, number: int, seed: int) -> list[Example]:
    """Choose up to `number` images that the mapping fixed and as many that it broke."""
    own = judged.predicted[own_name(key.target)]
    right_own, right = own == judged.label, judged.right(key.name)
    place = {image_id: row for row, image_id in enumerate(judged.image_id)}
    return [
        {
            "source": key.source,
            "target": key.target,
            "kind": kind,
            "image_id": image_id,
            "label": int(judged.label[place[image_id]]),
            "own": int(own[place[image_id]]),
            "mapped": int(judged.predicted[key.name][place[image_id]]),
        }
        for kind, chosen in (("fixed", ~right_own & right), ("broken", right_own & ~right))
        for image_id in choose_examples(judged.image_id, chosen, number, seed)
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
HEIGHT, WIDTH = 96, 160  # pixels, at most


def examples_table(images: Images, limit: int | None, chosen: list[Example], names: list[str] | None) -> pa.Table:
    """Return the chosen images of the evaluation split as an EXAMPLES table, with thumbnails.

    `names` are the classes' names; None if they are unknown. A thumbnail is null if its image cannot be read any more.
    """
    wanted = sorted({row["image_id"] for row in chosen})
    pictures = _thumbnails(images, limit, wanted) if wanted else {}
    rows = [
        {
            **row,
            "label_name": _name(names, row["label"]),
            "own_name": _name(names, row["own"]),
            "mapped_name": _name(names, row["mapped"]),
            "jpeg": pictures.get(row["image_id"]),
        }
        for row in chosen
    ]
    return pa.Table.from_pylist(rows, schema=EXAMPLES)


def _name(names: list[str] | None, label: int) -> str | None:
    return names[label] if names and 0 <= label < len(names) else None


def _thumbnails(images: Images, limit: int | None, wanted: list[str]) -> dict[str, bytes]:
    try:
        listing = list_images(images.val, read_classes(images), limit)
    except (ListingError, StorageError):
        return {}  # the images may be gone by now; results do not need them
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
    """Return an image as a JPEG of at most 160 x 96 pixels. Raises UnreadableImage."""
    image = decode(data, max_pixels)
    image.thumbnail((WIDTH, HEIGHT))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()
