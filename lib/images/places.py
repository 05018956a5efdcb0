"""Where listed images lie, as numbers: by them splits are compared without holding their images."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.images.mixing import hashes

COLUMNS = ("path", "start")


def places(images: pa.Table) -> pa.Array:
    """Return where each image lies, as a text: its file, and where in it."""
    start = pc.fill_null(images["start"].cast(pa.string()), "")
    separator = pc.if_else(pc.is_null(images["start"]), "", ":")
    return pc.binary_join_element_wise(images["path"], separator, start, "").combine_chunks()


def place_numbers(images: pa.Table) -> np.ndarray:
    """Return a number for each image, (n,) uint64, that is the same where images lie at the same place."""
    return hashes(places(images))


def known_among(numbers: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return which of the numbers (n,) are among the sorted numbers `known`, (n,) bool."""
    at = np.minimum(np.searchsorted(known, numbers), max(len(known) - 1, 0))
    return known[at] == numbers if len(known) else np.zeros(len(numbers), bool)
