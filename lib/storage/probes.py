"""Checks, made before any work starts, that a location can be read or written."""

from __future__ import annotations

import uuid

import pyarrow.fs as pafs

from lib.errors import StorageError
from lib.storage.files import write_atomically
from lib.storage.patterns import folder_of, is_pattern
from lib.storage.uris import join_uri, resolve


def check_writable(uri: str) -> None:
    """Raise StorageError if nothing can be written under `uri`."""
    try:
        filesystem, path = resolve(join_uri(uri, f".probe-{uuid.uuid4().hex}"), probing=True)
        write_atomically(filesystem, path, b"")
        filesystem.delete_file(path)
    except StorageError:
        raise
    except Exception as error:  # fsspec's file systems, as of hf://, raise errors of their own
        raise StorageError(
            f"cannot write under {uri}: {error}. Check that it exists and that you may write there"
        ) from error


def check_readable(uri: str) -> None:
    """Raise StorageError if there is nothing at `uri`, or if it, or what it holds, cannot be read.

    Of a pattern, its folder is looked at.
    """
    uri = folder_of(uri) if is_pattern(uri) else uri
    try:
        filesystem, path = resolve(uri, probing=True)
        info = filesystem.get_file_info(path)
        if info.type == pafs.FileType.NotFound:
            raise StorageError(f"{uri} is not there{_without_bucket(filesystem, uri, path)}")
        file = info if info.type == pafs.FileType.File else _first_file(filesystem, path)
        if file is not None:
            with filesystem.open_input_file(file.path) as stream:
                stream.read(1)
    except StorageError:
        raise
    except Exception as error:  # fsspec's file systems, as of hf://, raise errors of their own
        raise StorageError(f"cannot read {uri}: {error}. Check that you may list and read what is there") from error


def _without_bucket(filesystem: pafs.FileSystem, uri: str, path: str) -> str:
    """Return words that say so if the URI's bucket does not exist."""
    bucket = path.partition("/")[0]
    if uri.startswith("s3://") and filesystem.get_file_info(bucket).type == pafs.FileType.NotFound:
        return f": there is no bucket {bucket!r}"
    return ""


def _first_file(filesystem: pafs.FileSystem, path: str) -> pafs.FileInfo | None:
    """Return some file below a folder, or None if there is none on the way. It does not list the whole folder."""
    found = filesystem.get_file_info(pafs.FileSelector(path))
    files = [info for info in found if info.type == pafs.FileType.File]
    folders = [info for info in found if info.type == pafs.FileType.Directory]
    return files[0] if files else _first_file(filesystem, folders[0].path) if folders else None
