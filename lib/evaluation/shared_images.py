"""Whether evaluation images are also training images: such images have the same features, bit by bit.

Neither an image's name nor where it lies has to be the same, so that copies under other names are found, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def fingerprints(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """Return a number for each image, (n,) uint64, that is the same where all networks' vectors (n, d) are.

    It is 0, and stands for nothing, where a vector is zero: a network that is blind to an image says nothing of it.
    """
    blind = np.any([~F.any(1) for F in vectors], axis=0)
    found = np.empty(len(blind), np.uint64)
    for row in range(len(blind)):
        digest = hashlib.blake2b(digest_size=8)
        for F in vectors:
            digest.update(np.ascontiguousarray(F[row]).tobytes())
        found[row] = int.from_bytes(digest.digest(), "little")
    found[blind] = 0
    return found
