"""Google Cloud Storage through pyarrow, with a patience that ends.

The environment names the credentials: GOOGLE_APPLICATION_CREDENTIALS, gcloud's own file, or the machine's role.
"""

from __future__ import annotations

import functools
from datetime import timedelta

import pyarrow.fs as pafs

PATIENT = timedelta(seconds=30)  # that a request is repeated; by itself pyarrow goes on for 15 minutes
PROBING = timedelta(seconds=5)  # for what a command asks before it starts: missing credentials are told soon


def open_gcs(uri: str, patience: timedelta = PATIENT) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a gs:// URI and the path in it, bucket/key. Nothing in keys is decoded.

    gs://anonymous@bucket/key reads a public bucket without credentials.
    """
    path = uri.partition("://")[2].rstrip("/")
    return _opened(path.startswith("anonymous@"), patience), path.removeprefix("anonymous@")


@functools.lru_cache(maxsize=4)
def _opened(anonymous: bool, patience: timedelta) -> pafs.FileSystem:
    return pafs.GcsFileSystem(anonymous=anonymous, retry_time_limit=patience)
