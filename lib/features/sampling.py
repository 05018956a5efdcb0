"""Features of a sample of the images, the same images for every network, whatever order tables have."""

from __future__ import annotations

import zlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.features.chunks import read_chunk, split_into_chunks
from lib.features.reading import Features
from lib.features.tables import FeatureTables
from lib.storage.columns import column_vectors

READ_ROWS = 16_384  # of a chunk that is looked through at once


def sample_rows(image_ids: list[str], rows: int) -> np.ndarray:
    """Choose `rows` images by their ids' checksums, and return their row numbers, in the order of the checksums.

    The same images are chosen in whatever order they come.
    """
    checksums = np.array([zlib.crc32(image_id.encode()) for image_id in image_ids])
    return np.lexsort((np.asarray(image_ids, str), checksums))[:rows]


def read_sample(tables: FeatureTables, network: str, rows: int) -> Features:
    """Read one network's features of `rows` images, or of all if they are fewer, in the order of their checksums.

    No more than the sample and a chunk is held. Raises TableError if the network has no finished table.
    """
    found: pa.Table | None = None
    for chunk in split_into_chunks(tables, [network], READ_ROWS):
        more = read_chunk(chunk)
        both = more if found is None else pa.concat_tables([found, more])
        found = both.take(pa.array(sample_rows(both["image_id"].to_pylist(), rows)))
    if found is None:
        return Features(np.empty(0, object), pa.nulls(0, pa.int32()), {network: np.empty((0, 0), np.float32)})
    vectors = column_vectors(found, network).astype(np.float32, copy=False)
    return Features(
        found["image_id"].to_numpy(), pc.cast(found["label"], pa.int32()).combine_chunks(), {network: vectors}
    )
