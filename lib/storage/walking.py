"""All files below a folder, with what a plain listing hides: links that lead nowhere, or back to a folder above."""

from __future__ import annotations

import os

import pyarrow.fs as pafs

from lib.errors import StorageError
from lib.storage.files import naming_uri
from lib.storage.uris import resolve
from lib.storage.versions import Versioned, local_version, versioned

Identity = tuple[int, int]


def walk_files(uri: str, recursive: bool = True, above: str | None = None) -> list[Versioned]:
    """Return all files below the folder `uri` in the order of their paths, which are those in its file system.

    Without `recursive`, only files directly in the folder count. On a local disk, links to folders are followed, and a
    link that leads nowhere counts as a file, so that whoever reads it notices. Raises StorageError if a link leads to a
    folder above itself, which may be the folder `above`, or if a name is not UTF-8.
    """
    filesystem, root = resolve(uri)
    if not isinstance(filesystem, pafs.LocalFileSystem):
        with naming_uri("list", uri):
            found = filesystem.get_file_info(pafs.FileSelector(root, recursive=recursive, allow_not_found=True))
        files = [versioned(info, local=False) for info in found if info.type == pafs.FileType.File]
    else:
        try:
            passed = {_identity(folder) for folder in (root, resolve(above)[1] if above else root)}
            files = _walk(root, passed, recursive)
        except OSError as error:
            raise StorageError(f"cannot list {uri}: {error}") from error
    return sorted(files, key=lambda file: file.path)


def folders_directly_in(uri: str) -> list[str]:
    """Return the names of the folders directly in `uri`, with links to folders, in the order of their files' paths.

    Raises StorageError if a name is not UTF-8.
    """
    filesystem, root = resolve(uri)
    with naming_uri("list", uri):
        if isinstance(filesystem, pafs.LocalFileSystem):
            with os.scandir(root) as entries:
                names = [entry.name for entry in entries if _in_utf8(entry, root).is_dir()]
        else:
            found = filesystem.get_file_info(pafs.FileSelector(root, allow_not_found=True))
            names = [info.base_name for info in found if info.type == pafs.FileType.Directory]
    return sorted(names, key=lambda name: f"{name}/")


def _walk(folder: str, above: set[Identity], recursive: bool) -> list[Versioned]:
    """Return all files below `folder`; `above` identifies it and the folders that lead to it."""
    found: list[Versioned] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _in_utf8(entry, folder).is_dir():
                found.append(local_version(entry.path))
            elif recursive:
                identity = _identity(entry.path)
                if identity in above:
                    raise StorageError(
                        f"{entry.path} is a link to a folder above it, whose files would count twice: remove it"
                    )
                found += _walk(entry.path, above | {identity}, recursive)
    return found


def _in_utf8(entry: os.DirEntry[str], folder: str) -> os.DirEntry[str]:
    """Return the entry. Raises StorageError if its name is not UTF-8."""
    try:
        entry.name.encode()
    except UnicodeEncodeError as error:
        raise StorageError(f"the name {os.fsencode(entry.name)!r} in {folder} is not UTF-8: rename it") from error
    return entry


def _identity(folder: str) -> Identity:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
