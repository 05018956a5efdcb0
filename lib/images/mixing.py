"""The order of listed images in a table: mixed, so that each part is a sample of all classes, in bounded memory.

Images are dealt into buckets by a hash of their ids, and each bucket is mixed by itself. Images with one id meet in one
bucket, so that it also shows whether ids are unique.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

BUCKET = 2**21  # images that are mixed at once, about: 0.5 GB


def buckets_for(rows: int) -> int:
    """Return how many buckets so many images need."""
    return max(1, -(-rows // BUCKET))


def hashes(texts: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return a number for each text, (n,) uint64, that is as good as random."""
    found = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts.to_pylist())
    return np.frombuffer(found, "<u8")


def dealt(images: pa.Table, buckets: int) -> list[pa.Table]:
    """Deal images into buckets by their ids, and keep their order in each."""
    bucket = hashes(images["image_id"]) % np.uint64(buckets)
    order = np.argsort(bucket, kind="stable")
    edges = np.searchsorted(bucket[order], np.arange(buckets + 1))
    ordered = images.take(order)
    return [ordered.slice(edges[k], edges[k + 1] - edges[k]) for k in range(buckets)]


def permutation(rows: int, bucket: int, buckets: int) -> np.ndarray:
    """Return the order of a bucket's images, (rows,). It is the same in every run, whatever its seed."""
    seed: int | Sequence[int] = 0 if buckets == 1 else (0, bucket)
    return np.random.default_rng(seed).permutation(rows)
