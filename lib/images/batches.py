"""A batch of decoded images: listed rows in, pixels for every geometry out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lib.errors import UnreadableImage
from lib.images.decoding import decode
from lib.images.fetching import read_images
from lib.images.geometry import Geometry
from lib.images.schemas import PASSED_ON


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
