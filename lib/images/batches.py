"""A batch of images as it travels from decoding through the networks to the sink: an Arrow table, a row for each image.

| column | type | holds |
|---|---|---|
| image_id | string | |
| label | int32 | null where unknown |
| split, row | string, int64 | the caller's own columns, passed on unchanged; they may be absent |
| reason | string | why the image was rejected; null where it was read |
| pixels_k | fixed_size_list<uint8 or float32>[height * width * 3] | only after decoding: pixels for the k-th geometry |
| each network | fixed_size_list<float>[d] | only after the networks: features, null where the image was rejected |

No step drops a row. Only the sink parts rejected images from the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.errors import UnreadableImage
from lib.images.decoding import decode
from lib.images.fetching import read_images
from lib.images.geometry import Geometry
from lib.storage.columns import column_vectors, vector_column

IDENTITY = ("image_id", "label")
PASSED_ON = ("split", "row")
REASON = "reason"


def rejected(batch: pa.Table) -> pa.ChunkedArray:
    """Return which images of a batch were rejected, (n,) bool."""
    return pc.is_valid(batch[REASON])


def distinct_geometries(geometries: Mapping[str, Geometry]) -> list[Geometry]:
    """Return the geometries of these networks without repeats: the k-th one's pixels are in column `pixels_k`."""
    return list(dict.fromkeys(geometries.values()))


def pixels_name(k: int) -> str:
    """Return the name of the column with the pixels for the k-th geometry."""
    return f"pixels_{k}"


def pixels_of(batch: pa.Table, k: int, geometry: Geometry) -> np.ndarray:
    """Return a batch's pixels for the k-th geometry, (n, height, width, 3); zeros where an image was rejected."""
    return column_vectors(batch, pixels_name(k)).reshape(len(batch), *geometry.input_size[1:], 3)


class DecodeImages:
    """Fetch and decode listed images: the CPU's unit of work.

    Each image is decoded once for all geometries that want the same JPEG decoder.
    """

    def __init__(self, geometries: list[Geometry], max_pixels: int) -> None:
        self.geometries, self.max_pixels = geometries, max_pixels

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return LISTING rows as a batch with pixels. An unreadable image keeps its row, with a reason."""
        pixels = [np.zeros((len(rows), *g.input_size[1:], 3), g.dtype) for g in self.geometries]
        reasons: list[str | None] = [None] * len(rows)
        for place, data in enumerate(read_images(rows)):
            try:
                if isinstance(data, Exception):
                    raise UnreadableImage(f"missing: {data}") from data
                images = {jpeg: decode(data, self.max_pixels, jpeg) for jpeg in {g.jpeg for g in self.geometries}}
                for array, geometry in zip(pixels, self.geometries, strict=True):
                    array[place] = geometry.pixels(images[geometry.jpeg])
            except UnreadableImage as error:
                reasons[place] = str(error)
        batch = rows.select([name for name in (*IDENTITY, *PASSED_ON) if name in rows.column_names])
        batch = batch.append_column(REASON, pa.array(reasons, pa.string()))
        for k, array in enumerate(pixels):
            batch = batch.append_column(
                pixels_name(k), vector_column(array.reshape(len(rows), math.prod(array.shape[1:])))
            )
        return batch
