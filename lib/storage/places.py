"""Places that fsspec knows, as pyarrow's file systems: hf://, https://, az://, memory:// and many more.

Each finds its credentials by itself, in the environment: HF_TOKEN, AZURE_STORAGE_ACCOUNT_NAME, and so on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.fs as pafs

from lib.storage.wrapped_files import WrappedFile

TIMES = (
    "mtime",
    "LastModified",
    "last_modified",
    "created",
)  # keys of what a place says of a file, as places have them
TAGS = ("ETag", "etag", "blob_id", "md5", "Content-MD5", "checksum")


def open_place(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a URI that fsspec knows, and the path in it.

    Raises ValueError if fsspec knows no such scheme, or needs a package that is not installed, which it names.
    """
    try:
        filesystem, path = fsspec.core.url_to_fs(uri)
    except ImportError as error:
        raise ValueError(str(error)) from error
    return pafs.PyFileSystem(Place(filesystem)), path


@contextmanager
def raising_os_errors(path: str) -> Iterator[None]:
    """Turn whatever a place's own library raises into an OSError that names the path."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{path}: {type(error).__name__}: {error}") from error


class Place(pafs.FSSpecHandler):
    """pyarrow's handler of fsspec with three differences.

    It reads what is asked for and nothing ahead. It raises OSErrors alone. It knows a file's version: its time, or a
    number that stands for the tag by which the place tells versions apart.
    """

    @staticmethod
    def _create_file_info(path: str, info: dict[str, Any]) -> pafs.FileInfo:
        """Return what pyarrow wants to know of a file or folder."""
        kind = {"file": pafs.FileType.File, "directory": pafs.FileType.Directory}.get(info["type"])
        file = kind == pafs.FileType.File
        return pafs.FileInfo(
            path, kind or pafs.FileType.Unknown, size=info.get("size") if file else None, mtime_ns=nanoseconds(info)
        )

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        """Return what is known of each path."""
        with raising_os_errors(", ".join(paths)):
            found: list[pafs.FileInfo] = super().get_file_info(paths)
            return found

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        """Return what is known of the paths that a selector finds."""
        with raising_os_errors(selector.base_dir):
            found: list[pafs.FileInfo] = super().get_file_info_selector(selector)
            return found

    def open_input_stream(self, path: str) -> pa.NativeFile:
        """Open a file for reading."""
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Open a file for reading at any place."""
        with raising_os_errors(path):
            return pa.PythonFile(_File(path, self.fs.open(path, mode="rb", cache_type="none")), mode="r")


class _File(WrappedFile):
    """A file of a place, whose errors are OSErrors."""

    def __init__(self, path: str, file: Any) -> None:
        super().__init__(file)
        self.path = path

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, all that follow if `size` is negative."""
        with raising_os_errors(self.path):
            return bytes(self.file.read(size))


def nanoseconds(info: dict[str, Any]) -> int | None:
    """Return a file's time, or a number that stands for its tag; None if its place says neither."""
    for key in TIMES:
        value = info.get(key)
        if isinstance(value, datetime):
            return int(value.timestamp() * 10**9)
        if isinstance(value, int | float):
            return int(value * 10**9)
    tags = [str(info[key]) for key in TAGS if info.get(key)]
    if not tags:
        return None
    return int.from_bytes(hashlib.blake2b(repr(tags).encode(), digest_size=7).digest())
