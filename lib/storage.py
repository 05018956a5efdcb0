"""Files by URI, local or in an object store, through pyarrow's filesystems (s3://, gs://, or a plain path)."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from typing import Any

import pyarrow.fs as pafs


class StorageError(ValueError):
    """A location that can't be used; the message names the URI and what to do."""


def resolve(uri: str) -> tuple[pafs.FileSystem, str]:
    """The file system and the path in it that `uri` names; a plain path is relative to the working directory.

    Raises StorageError where the URI's scheme is unknown or its file system refuses to start.
    """
    if "://" not in uri:
        return pafs.LocalFileSystem(), os.path.abspath(os.path.expanduser(uri))
    try:
        filesystem, path = pafs.FileSystem.from_uri(uri)
    except (OSError, ValueError, NotImplementedError) as error:
        raise StorageError(f"cannot use {uri}: {error}. Allowed: a local path, file://, s3:// or gs://") from error
    return filesystem, path


def join(uri: str, *parts: str) -> str:
    """`uri` with `parts` below it, one slash between each."""
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts)])


def is_file(uri: str) -> bool:
    filesystem, path = resolve(uri)
    return bool(filesystem.get_file_info(path).type == pafs.FileType.File)


def is_folder(uri: str) -> bool:
    filesystem, path = resolve(uri)
    return bool(filesystem.get_file_info(path).type == pafs.FileType.Directory)


def files_below(uri: str, suffix: str = "", recursive: bool = False) -> list[str]:
    """Sorted paths, in `uri`'s file system, of the files below it ending with `suffix`; [] without the folder."""
    filesystem, path = resolve(uri)
    found = filesystem.get_file_info(pafs.FileSelector(path, recursive=recursive, allow_not_found=True))
    return sorted(info.path for info in found if info.type == pafs.FileType.File and info.path.endswith(suffix))


def read_bytes(uri: str) -> bytes:
    """The whole file. Raises StorageError where it can't be read."""
    filesystem, path = resolve(uri)
    try:
        with filesystem.open_input_stream(path, compression=None) as stream:  # .gz is read as it is
            return bytes(stream.read())
    except OSError as error:
        raise StorageError(f"cannot read {uri}: {error}") from error


def write_bytes(uri: str, data: bytes) -> None:
    """Write a file that no reader ever sees half of: renamed into place locally, one upload in an object store."""
    filesystem, path = resolve(uri)
    filesystem.create_dir(os.path.dirname(path), recursive=True)
    local = isinstance(filesystem, pafs.LocalFileSystem)
    target = f"{path}.{uuid.uuid4().hex}.tmp" if local else path
    with filesystem.open_output_stream(target, compression=None) as stream:
        stream.write(data)
    if local:
        filesystem.move(target, path)


def read_json(uri: str) -> Any:
    return json.loads(read_bytes(uri))


def write_json(uri: str, value: Any) -> None:
    write_bytes(uri, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def delete(uri: str) -> None:
    """Remove a file or a folder with all below it; nothing happens where there is none."""
    filesystem, path = resolve(uri)
    kind = filesystem.get_file_info(path).type
    if kind == pafs.FileType.Directory:
        filesystem.delete_dir(path)
    elif kind == pafs.FileType.File:
        filesystem.delete_file(path)


def delete_files(uri: str, chosen: Callable[[str], bool]) -> None:
    """Remove the files directly in the folder `uri` whose names are `chosen`."""
    filesystem = resolve(uri)[0]
    for path in files_below(uri):
        if chosen(os.path.basename(path)):
            filesystem.delete_file(path)


def writable(uri: str) -> None:
    """Raise StorageError, before any work, where nothing can be written under `uri`."""
    probe = join(uri, f".probe-{uuid.uuid4().hex}")
    try:
        write_bytes(probe, b"")
        delete(probe)
    except OSError as error:
        raise StorageError(
            f"cannot write under {uri}: {error}. Check that it exists and that you may write there"
        ) from error
