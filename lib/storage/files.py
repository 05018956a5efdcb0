"""Read, write, list and delete files by URI, through pyarrow's file systems."""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from lib.errors import StorageError
from lib.storage.uris import resolve, uri_beside

THREADS = 32  # that ask a store side by side
Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def naming_uri(what: str, uri: str) -> Iterator[None]:
    """Turn an OSError, or a name that is not UTF-8, into a StorageError that names the URI."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise StorageError(f"cannot {what} {uri}: the name {error.object!r} is not UTF-8: rename it") from error
    except OSError as error:
        raise StorageError(f"cannot {what} {uri}: {error}") from error


def _kind(uri: str) -> pafs.FileType:
    filesystem, path = resolve(uri)
    with naming_uri("look for", uri):
        return filesystem.get_file_info(path).type


def is_file(uri: str) -> bool:
    """Return whether there is a file. Raises StorageError if the store does not answer."""
    return bool(_kind(uri) == pafs.FileType.File)


def is_folder(uri: str) -> bool:
    """Return whether there is a folder. Raises StorageError if the store does not answer."""
    return bool(_kind(uri) == pafs.FileType.Directory)


def file_version(uri: str) -> str:
    """Return a file's size and time, which change when it is written anew. Raises StorageError if there is no file."""
    filesystem, path = resolve(uri)
    with naming_uri("look for", uri):
        info = filesystem.get_file_info(path)
    if info.type != pafs.FileType.File:
        raise StorageError(f"there is no file {uri}")
    return f"{info.size} {info.mtime_ns}"


def files_below(uri: str, suffix: str = "", recursive: bool = False) -> list[str]:
    """Return the sorted paths, in `uri`'s file system, of the files below it that end with `suffix`.

    There are none if the folder does not exist. Without `recursive`, only files directly in the folder count.
    """
    filesystem, path = resolve(uri)
    with naming_uri("list", uri):
        found = filesystem.get_file_info(pafs.FileSelector(path, recursive=recursive, allow_not_found=True))
        return sorted(info.path for info in found if info.type == pafs.FileType.File and info.path.endswith(suffix))


def bytes_below(uri: str) -> int:
    """Return how many bytes the files below a folder have; 0 if it does not exist."""
    filesystem, path = resolve(uri)
    with naming_uri("list", uri):
        found = filesystem.get_file_info(pafs.FileSelector(path, recursive=True, allow_not_found=True))
        return sum(info.size for info in found if info.type == pafs.FileType.File)


def folders_in(uri: str) -> list[str]:
    """Return the sorted paths, in `uri`'s file system, of the folders directly in it; none if it does not exist."""
    filesystem, path = resolve(uri)
    with naming_uri("list", uri):
        found = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
        return sorted(info.path for info in found if info.type == pafs.FileType.Directory)


def read_bytes(uri: str) -> bytes:
    """Return the whole file. Raises StorageError if it cannot be read."""
    filesystem, path = resolve(uri)
    with (
        naming_uri("read", uri),
        filesystem.open_input_stream(path, compression=None) as stream,
    ):  # .gz is read as it is
        return bytes(stream.read())


def write_bytes(uri: str, data: bytes | pa.Buffer) -> None:
    """Write a file so that no reader ever sees half of it. Raises StorageError if it cannot be written.

    A local file is renamed into place; an object is one upload.
    """
    filesystem, path = resolve(uri)
    with naming_uri("write", uri):
        write_atomically(filesystem, path, data)


def write_atomically(filesystem: pafs.FileSystem, path: str, data: bytes | pa.Buffer) -> None:
    """Write a file so that no reader ever sees half of it, not even after a loss of power. Raises OSError."""
    buffer = pa.py_buffer(data)
    if isinstance(filesystem, pafs.LocalFileSystem):
        filesystem.create_dir(os.path.dirname(path), recursive=True)
        target = f"{path}.{uuid.uuid4().hex}.tmp"
        _put(filesystem, target, buffer)
        _sync(target)  # else the new name may outlive a loss of power, and the bytes not
        filesystem.move(target, path)
        _sync(os.path.dirname(path))
        return
    # Closing commits what was written, even when it is an exception that closes: an interrupt (which comes to the main
    # thread) between opening and writing would commit an empty object.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_put, filesystem, path, buffer).result()


def _sync(path: str) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put(filesystem: pafs.FileSystem, path: str, buffer: pa.Buffer) -> None:
    with filesystem.open_output_stream(path, compression=None) as stream:
        stream.write(buffer)


def read_json(uri: str) -> Any:
    """Return the JSON value in a file. Raises StorageError if the file cannot be read."""
    return json.loads(read_bytes(uri))


def write_json(uri: str, value: object) -> bytes:
    """Write a JSON value, indented for people, and return the file's contents.

    Numbers that are not finite, which JSON lacks, become null.
    """
    text = json.dumps(without_nan(value), indent=2, ensure_ascii=False, allow_nan=False)
    data = (text + "\n").encode()
    write_bytes(uri, data)
    return data


def without_nan(value: object) -> object:
    """Return a JSON value with null in place of numbers that are not finite."""
    if isinstance(value, dict):
        return {key: without_nan(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(below) for below in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def for_all(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do the work for all items, many at once, since a store takes its time to answer. Raises what the work raises."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))


def delete(uri: str) -> None:
    """Remove a file, or a folder with all that is below it. It is no error if there is nothing."""
    filesystem, path = resolve(uri)
    kind = _kind(uri)
    with naming_uri("delete", uri):
        if kind == pafs.FileType.Directory:
            filesystem.delete_dir(path)
        elif kind == pafs.FileType.File:
            filesystem.delete_file(path)


def delete_files(uri: str, chosen: Callable[[str], bool]) -> None:
    """Remove the files directly in the folder `uri` for whose names `chosen` is true."""
    filesystem = resolve(uri)[0]
    for path in files_below(uri):
        if chosen(os.path.basename(path)):
            with naming_uri("delete", uri_beside(uri, path)):
                filesystem.delete_file(path)
