"""All files below a folder, with what a plain listing hides: links that lead nowhere, or back to a folder above."""

from __future__ import annotations

import os

import pyarrow.fs as pafs

from lib.errors import StorageError
from lib.storage.files import files_below
from lib.storage.uris import resolve


def walk_files(uri: str) -> list[str]:
    """Return the sorted paths, in `uri`'s file system, of all files below the folder `uri`.

    On a local disk, links to folders are followed, and a link that leads nowhere counts as a file, so that whoever
    reads it notices. Raises StorageError if a link leads to a folder above itself, or if a name is not UTF-8.
    """
    filesystem, root = resolve(uri)
    if not isinstance(filesystem, pafs.LocalFileSystem):
        return files_below(uri, recursive=True)
    try:
        return sorted(_walk(root, {_identity(root)}))
    except OSError as error:
        raise StorageError(f"cannot list {uri}: {error}") from error


def _walk(folder: str, above: set[tuple[int, int]]) -> list[str]:
    """Return all files below `folder`; `above` identifies it and the folders that lead to it."""
    found: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                entry.name.encode()
            except UnicodeEncodeError as error:
                raise StorageError(
                    f"the name {os.fsencode(entry.name)!r} in {folder} is not UTF-8: rename it"
                ) from error
            if not entry.is_dir():
                found.append(entry.path)
                continue
            identity = _identity(entry.path)
            if identity in above:
                raise StorageError(
                    f"{entry.path} is a link to a folder above it, whose files would count twice: remove it"
                )
            found += _walk(entry.path, above | {identity})
    return found


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
