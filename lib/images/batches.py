"""A batch of images as it travels from decoding through the networks to the sink: an Arrow table, a row for each image.

| column | type | holds |
|---|---|---|
| image_id | string | |
| label | int32 | null where unknown |
| split, row | string, int64 | the caller's own columns, passed on unchanged; they may be absent |
| reason | string | why the image was rejected; null where it was read |
| pixels_k | fixed_size_list<uint8 or float32>[height * width * 3] | only after decoding: pixels for the k-th geometry |
| encoded | large_binary | the file's bytes, where geometries with the decoder "nvjpeg" have no pixels yet |
| each network | fixed_size_list<float>[d] | only after the networks: features, null where the image was rejected |

No step drops a row. Only the sink parts rejected images from the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.errors import UnreadableImage
from lib.images.fetching import ChangedFileError, read_images
from lib.images.geometry import Geometry
from lib.images.isolation import decode_alone
from lib.images.pixels import decode_for
from lib.storage.columns import column_vectors, vector_column

IDENTITY = ("image_id", "label")
PASSED_ON = ("split", "row")
REASON, ENCODED = "reason", "encoded"


def rejected(batch: pa.Table) -> pa.ChunkedArray:
    """Return which images of a batch were rejected, (n,) bool."""
    return pc.is_valid(batch[REASON])


def distinct_geometries(geometries: Mapping[str, Geometry]) -> list[Geometry]:
    """Return the geometries of these networks without repeats: the k-th one's pixels are in column `pixels_k`."""
    return list(dict.fromkeys(geometries.values()))


def pixels_name(k: int) -> str:
    """Return the name of the column with the pixels for the k-th geometry."""
    return f"pixels_{k}"


def encoded_images(batch: pa.Table) -> list[bytes | None]:
    """Return the files' bytes that travel in place of pixels; None where an image was rejected."""
    return [
        None if reason is not None else data
        for data, reason in zip(batch[ENCODED].to_pylist(), batch[REASON].to_pylist(), strict=True)
    ]


def pixels_of(batch: pa.Table, k: int, geometry: Geometry) -> np.ndarray:
    """Return a batch's pixels for the k-th geometry, (n, height, width, 3); zeros where an image was rejected."""
    return column_vectors(batch, pixels_name(k)).reshape(len(batch), *geometry.input_size[1:], 3)


def reason_of(error: Exception) -> str:
    """Return why an image is rejected that could not be fetched."""
    return f"{'changed' if isinstance(error, ChangedFileError) else 'missing'}: {error}"


class DecodeImages:
    """Fetch and decode listed images: the CPU's unit of work."""

    def __init__(self, geometries: list[Geometry], max_pixels: int) -> None:
        self.geometries, self.max_pixels = geometries, max_pixels

    def __call__(self, rows: pa.Table, alone: bool = False) -> pa.Table:
        """Return LISTING rows as a batch with pixels. An unreadable image keeps its row, with a reason.

        `alone` decodes image by image in a process of its own (lib.images.isolation), for rows that killed this one.
        """
        return self.decoded(rows, read_images(rows), alone)

    def decoded(self, rows: pa.Table, images: list[bytes | Exception], alone: bool = False) -> pa.Table:
        """Do the same with images that are fetched already; an exception stands for one that could not be."""
        here = [geometry for geometry in self.geometries if not geometry.on_device]
        pixels = [np.zeros((len(rows), *g.input_size[1:], 3), g.dtype) for g in here]
        reasons = [reason_of(data) if isinstance(data, Exception) else None for data in images]
        there = [(place, data) for place, data in enumerate(images) if not isinstance(data, Exception)]
        answers = self._decode([data for _, data in there], here, alone) if here else ([] for _ in there)
        for (place, _), found in zip(there, answers, strict=True):
            if isinstance(found, str):
                reasons[place] = found
                continue
            for array, decoded in zip(pixels, found, strict=True):
                array[place] = decoded
        batch = rows.select([name for name in (*IDENTITY, *PASSED_ON) if name in rows.column_names])
        batch = batch.append_column(REASON, pa.array(reasons, pa.string()))
        for geometry, array in zip(here, pixels, strict=True):
            column = vector_column(array.reshape(len(rows), math.prod(array.shape[1:])))
            batch = batch.append_column(pixels_name(self.geometries.index(geometry)), column)
        if len(here) < len(self.geometries):
            files = [None if isinstance(data, Exception) else data for data in images]
            batch = batch.append_column(ENCODED, pa.array(files, pa.large_binary()))
        return batch

    def _decode(self, images: list[bytes], geometries: list[Geometry], alone: bool) -> Iterable[list[np.ndarray] | str]:
        """Yield each image's pixels, or the reason why it is rejected."""
        if alone:
            yield from decode_alone(images, geometries, self.max_pixels)
            return
        for data in images:
            try:
                yield decode_for(data, geometries, self.max_pixels)
            except UnreadableImage as error:
                yield str(error)
