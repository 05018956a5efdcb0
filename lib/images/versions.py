"""Which files a listing's images lie in, and which version of them: what a feature table was made from."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from lib.errors import StorageError
from lib.storage.files import file_version
from lib.storage.manifests import digest

ASKED = 2000  # files in an object store whose size and time are asked for, at most: each costs a request


def files_digest(listing: pa.Table) -> str:
    """Return a digest of the files that a listing's images lie in: their paths, sizes and times.

    If more than ASKED files lie in an object store, it has their paths alone. A file that is missing has no size; its
    images are rejected later.
    """
    paths = sorted(pc.unique(listing["path"]).to_pylist())
    remote = sum("://" in path for path in paths)
    versions: list[str | None] = []
    if not remote:
        versions = [_version(path) for path in paths]
    elif remote <= ASKED:
        with ThreadPoolExecutor(16) as pool:
            versions = list(pool.map(_version, paths))
    return digest([paths, versions])


def _version(path: str) -> str | None:
    """Return a file's size and time, None if it is missing or cannot be asked for."""
    try:
        if "://" in path:
            return file_version(path)
        status = os.stat(path)
    except (OSError, ValueError, StorageError):
        return None
    return f"{status.st_size} {status.st_mtime_ns}"
