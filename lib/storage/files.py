"""Read, write, list and delete files by URI, through pyarrow's file systems."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from lib.errors import StorageError
from lib.storage.uris import resolve, uri_beside


@contextmanager
def naming_uri(what: str, uri: str) -> Iterator[None]:
    """An OSError becomes a StorageError that names the URI."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {what} {uri}: {error}") from error


def _kind(uri: str) -> pafs.FileType:
    filesystem, path = resolve(uri)
    with naming_uri("look for", uri):
        return filesystem.get_file_info(path).type


def is_file(uri: str) -> bool:
    return bool(_kind(uri) == pafs.FileType.File)


def is_folder(uri: str) -> bool:
    return bool(_kind(uri) == pafs.FileType.Directory)


def file_version(uri: str) -> str:
    """Size and time of a file: another where it was written anew. Raises StorageError where there is none."""
    filesystem, path = resolve(uri)
    with naming_uri("look for", uri):
        info = filesystem.get_file_info(path)
    if info.type != pafs.FileType.File:
        raise StorageError(f"there is no file {uri}")
    return f"{info.size} {info.mtime_ns}"


def files_below(uri: str, suffix: str = "", recursive: bool = False) -> list[str]:
    """Sorted paths, in `uri`'s file system, of the files below it ending with `suffix`; [] without the folder."""
    filesystem, path = resolve(uri)
    with naming_uri("list", uri):
        found = filesystem.get_file_info(pafs.FileSelector(path, recursive=recursive, allow_not_found=True))
    return sorted(info.path for info in found if info.type == pafs.FileType.File and info.path.endswith(suffix))


def folders_in(uri: str) -> list[str]:
    """Return the sorted paths, in `uri`'s file system, of the folders directly in it; none if it does not exist."""
    filesystem, path = resolve(uri)
    with naming_uri("list", uri):
        found = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    return sorted(info.path for info in found if info.type == pafs.FileType.Directory)


def read_bytes(uri: str) -> bytes:
    """The whole file. Raises StorageError where it can't be read."""
    filesystem, path = resolve(uri)
    with (
        naming_uri("read", uri),
        filesystem.open_input_stream(path, compression=None) as stream,
    ):  # .gz is read as it is
        return bytes(stream.read())


def write_bytes(uri: str, data: bytes | pa.Buffer) -> None:
    """Write a file that no reader ever sees half of: renamed into place locally, one upload in an object store."""
    filesystem, path = resolve(uri)
    with naming_uri("write", uri):
        write_atomically(filesystem, path, data)


def write_atomically(filesystem: pafs.FileSystem, path: str, data: bytes | pa.Buffer) -> None:
    buffer = pa.py_buffer(data)
    if isinstance(filesystem, pafs.LocalFileSystem):
        filesystem.create_dir(os.path.dirname(path), recursive=True)
        target = f"{path}.{uuid.uuid4().hex}.tmp"
        _put(filesystem, target, buffer)
        filesystem.move(target, path)
        return
    # Closing commits what was written, even when it is an exception that closes: an interrupt (which comes to the main
    # thread) between opening and writing would commit an empty object.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_put, filesystem, path, buffer).result()


def _put(filesystem: pafs.FileSystem, path: str, buffer: pa.Buffer) -> None:
    with filesystem.open_output_stream(path, compression=None) as stream:
        stream.write(buffer)


def read_json(uri: str) -> Any:
    return json.loads(read_bytes(uri))


def write_json(uri: str, value: Any) -> None:
    write_bytes(uri, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def delete(uri: str) -> None:
    """Remove a file or a folder with all below it; nothing happens where there is none."""
    filesystem, path = resolve(uri)
    kind = _kind(uri)
    with naming_uri("delete", uri):
        if kind == pafs.FileType.Directory:
            filesystem.delete_dir(path)
        elif kind == pafs.FileType.File:
            filesystem.delete_file(path)


def delete_files(uri: str, chosen: Callable[[str], bool]) -> None:
    """Remove the files directly in the folder `uri` whose names are `chosen`."""
    filesystem = resolve(uri)[0]
    for path in files_below(uri):
        if chosen(os.path.basename(path)):
            with naming_uri("delete", uri_beside(uri, path)):
                filesystem.delete_file(path)
