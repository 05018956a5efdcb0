"""Which version of a file something was made from: its size and its time, or what stands for the time in a store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.fs as pafs

from lib.storage.s3 import PatientS3
from lib.storage.uris import resolve

SECOND = 10**9  # ns


@dataclass(frozen=True)
class Versioned:
    """A file and its version. Two versions of a file differ in `size` or `version`, as far as these are known."""

    path: str  # in its file system
    size: int | None = None  # bytes
    version: str | None = None

    def changed(self, now: Versioned) -> bool:
        """Return whether `now` shows another version. What is unknown on either side says nothing."""
        sizes = None not in (self.size, now.size) and self.size != now.size
        return sizes or (None not in (self.version, now.version) and self.version != now.version)


def version_of(info: pafs.FileInfo, local: bool) -> str | None:
    """Return a file's time, which changes when the file is written anew; None if its file system does not say it.

    It is in nanoseconds on a local disk. A store's is in whole seconds, since its answers about one object have no
    more than that in common.
    """
    if info.mtime_ns is None:
        return None
    return str(info.mtime_ns if local else info.mtime_ns // SECOND)


def versioned(info: pafs.FileInfo, local: bool) -> Versioned:
    """Return what a file system says of a file."""
    return Versioned(info.path, info.size, version_of(info, local))


def local_version(path: str) -> Versioned:
    """Return a local file's version, unknown if there is no file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return Versioned(path)
    return Versioned(path, status.st_size, str(status.st_mtime_ns))


def local_versions(paths: list[str]) -> tuple[list[int | None], list[str | None]]:
    """Return the sizes and versions of many local files, None where there is no file."""
    sizes, versions = list[int | None](), list[str | None]()
    for path in paths:
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            sizes.append(None)
            versions.append(None)
        else:
            sizes.append(status.st_size)
            versions.append(str(status.st_mtime_ns))
    return sizes, versions


def version_now(uri: str) -> Versioned:
    """Return a file's version. Raises OSError if there is no file."""
    filesystem, path = resolve(uri)
    if isinstance(filesystem, pafs.LocalFileSystem):
        return local_version(path)
    info = filesystem.get_file_info(path)
    if info.type == pafs.FileType.NotFound:
        raise FileNotFoundError(f"there is no file {uri}")
    return versioned(info, local=False)


@contextmanager
def open_versioned(uri: str) -> Iterator[tuple[pa.NativeFile, Versioned]]:
    """Open a file for reading at any place, and tell its version. S3 says it as it opens a file. Raises OSError."""
    filesystem, path = resolve(uri)
    handler = getattr(filesystem, "handler", None)
    if isinstance(filesystem, pafs.LocalFileSystem):
        with filesystem.open_input_file(path) as file:
            yield file, local_version(path)
    elif isinstance(handler, PatientS3):
        file, size, second = handler.open_with_time(path)
        with file:
            yield file, Versioned(path, size, second)
    else:
        now = version_now(uri)
        with filesystem.open_input_file(path) as file:
            yield file, now
