"""Files by URI, local or in an object store, through pyarrow's filesystems (s3://, gs://, or a plain path)."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from lib import s3

STORES = ("s3", "gs")
SECRET = re.compile(r"[?&](sig|[^=&]*(key|secret|token|signature|credential|password)[^=&]*)=", re.IGNORECASE)


class StorageError(ValueError):
    """A location that can't be used; the message names the URI and what to do."""


class BadURI(StorageError):  # noqa: N818 - what it is
    """A URI with credentials or options in it; the message doesn't repeat them."""


def check(uri: str) -> None:
    """Raise BadURI where a URI (or a text with one) that somebody wrote holds credentials, or options of a store."""
    refuse_credentials(uri)
    before, separator, rest = uri.partition("://")
    if separator and before.endswith(STORES) and "?" in rest:
        raise BadURI(
            f"{uri.partition('?')[0]}?...: leave options out of URIs. The environment names them: AWS_ENDPOINT_URL, "
            "AWS_REGION"
        )


def check_all(value: Any, path: str = "") -> None:
    """`check` every text in a JSON value; the message begins with the key it stands under."""
    if isinstance(value, dict):
        for key, below in value.items():
            check_all(below, f"{path}.{key}")
    elif isinstance(value, list):
        for below in value:
            check_all(below, path)
    elif isinstance(value, str):
        try:
            check(value)
        except BadURI as error:
            raise BadURI(f"{path.lstrip('.')}: {error}") from error


def refuse_credentials(uri: str) -> None:
    """Raise BadURI where `uri` holds credentials: it would stand in logs, tables and reports."""
    before, separator, rest = uri.partition("://")
    if not separator:
        return
    authority = rest.partition("/")[0]
    user, at, _ = authority.rpartition("@")
    # A secret may have slashes, after which the @ is no longer in the authority.
    colon = before.endswith(STORES) and ":" in authority and not authority.startswith("arn:")
    if (at and user != "anonymous") or colon or SECRET.search(rest):
        raise BadURI(
            f"{before}://... holds credentials. Leave them out of URIs: they belong into the environment "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), a profile of ~/.aws/credentials "
            "(AWS_PROFILE) or an instance's role"
        )


def resolve(uri: str, attempts: int = s3.PATIENT) -> tuple[pafs.FileSystem, str]:
    """The file system and the path in it that `uri` names; a plain path is relative to the working directory.

    `attempts`: how often a request to S3 is tried. Raises StorageError where the URI's scheme is unknown or its file
    system refuses to start.
    """
    if "://" not in uri:
        return pafs.LocalFileSystem(), os.path.abspath(os.path.expanduser(uri))
    refuse_credentials(uri)
    try:
        if uri.startswith("s3://"):
            return s3.file_system(uri, attempts)
        filesystem, path = pafs.FileSystem.from_uri(uri)
    except (OSError, ValueError, NotImplementedError) as error:
        raise StorageError(f"cannot use {uri}: {error}. Allowed: a local path, file://, s3:// or gs://") from error
    return filesystem, path


def join(uri: str, *parts: str) -> str:
    """`uri` with `parts` below it, one slash between each."""
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts)])


def beside(location: str, path: str) -> str:
    """A path in `location`'s file system as a URI, or a plain path where it is local."""
    scheme, separator, rest = location.partition("://")
    if not separator or scheme == "file":
        return path
    return f"{scheme}://{'anonymous@' if rest.startswith('anonymous@') else ''}{path}"


@contextmanager
def _told(what: str, uri: str) -> Iterator[None]:
    """An OSError becomes a StorageError that names the URI."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {what} {uri}: {error}") from error


def _kind(uri: str) -> pafs.FileType:
    filesystem, path = resolve(uri)
    with _told("look for", uri):
        return filesystem.get_file_info(path).type


def is_file(uri: str) -> bool:
    return bool(_kind(uri) == pafs.FileType.File)


def is_folder(uri: str) -> bool:
    return bool(_kind(uri) == pafs.FileType.Directory)


def version(uri: str) -> str:
    """Size and time of a file: another where it was written anew. Raises StorageError where there is none."""
    filesystem, path = resolve(uri)
    with _told("look for", uri):
        info = filesystem.get_file_info(path)
    if info.type != pafs.FileType.File:
        raise StorageError(f"there is no file {uri}")
    return f"{info.size} {info.mtime_ns}"


def files_below(uri: str, suffix: str = "", recursive: bool = False) -> list[str]:
    """Sorted paths, in `uri`'s file system, of the files below it ending with `suffix`; [] without the folder."""
    filesystem, path = resolve(uri)
    with _told("list", uri):
        found = filesystem.get_file_info(pafs.FileSelector(path, recursive=recursive, allow_not_found=True))
    return sorted(info.path for info in found if info.type == pafs.FileType.File and info.path.endswith(suffix))


def read_bytes(uri: str) -> bytes:
    """The whole file. Raises StorageError where it can't be read."""
    filesystem, path = resolve(uri)
    with _told("read", uri), filesystem.open_input_stream(path, compression=None) as stream:  # .gz is read as it is
        return bytes(stream.read())


def write_bytes(uri: str, data: bytes | pa.Buffer) -> None:
    """Write a file that no reader ever sees half of: renamed into place locally, one upload in an object store."""
    filesystem, path = resolve(uri)
    with _told("write", uri):
        _write(filesystem, path, data)


def _write(filesystem: pafs.FileSystem, path: str, data: bytes | pa.Buffer) -> None:
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
    with _told("delete", uri):
        if kind == pafs.FileType.Directory:
            filesystem.delete_dir(path)
        elif kind == pafs.FileType.File:
            filesystem.delete_file(path)


def delete_files(uri: str, chosen: Callable[[str], bool]) -> None:
    """Remove the files directly in the folder `uri` whose names are `chosen`."""
    filesystem = resolve(uri)[0]
    for path in files_below(uri):
        if chosen(os.path.basename(path)):
            with _told("delete", beside(uri, path)):
                filesystem.delete_file(path)


def writable(uri: str) -> None:
    """Raise StorageError, before any work, where nothing can be written under `uri`."""
    filesystem, path = resolve(join(uri, f".probe-{uuid.uuid4().hex}"), s3.PROBING)
    try:
        _write(filesystem, path, b"")
        filesystem.delete_file(path)
    except OSError as error:
        raise StorageError(
            f"cannot write under {uri}: {error}. Check that it exists and that you may write there"
        ) from error


def readable(uri: str) -> None:
    """Raise StorageError, before any work, where there is nothing at `uri`, or it, or what it holds, can't be read."""
    filesystem, path = resolve(uri, s3.PROBING)
    try:
        info = filesystem.get_file_info(path)
        if info.type == pafs.FileType.NotFound:
            raise StorageError(f"{uri} is not there{_without_bucket(filesystem, uri, path)}")
        file = info if info.type == pafs.FileType.File else _first_file(filesystem, path)
        if file is not None:
            with filesystem.open_input_file(file.path) as stream:
                stream.read(1)
    except OSError as error:
        raise StorageError(f"cannot read {uri}: {error}. Check that you may list and read what is there") from error


def _without_bucket(filesystem: pafs.FileSystem, uri: str, path: str) -> str:
    bucket = path.partition("/")[0]
    if uri.startswith("s3://") and filesystem.get_file_info(bucket).type == pafs.FileType.NotFound:
        return f": there is no bucket {bucket!r}"
    return ""


def _first_file(filesystem: pafs.FileSystem, path: str) -> pafs.FileInfo | None:
    """Some file below a folder, found without listing all that is there; None where there is none on the way."""
    found = filesystem.get_file_info(pafs.FileSelector(path))
    files = [info for info in found if info.type == pafs.FileType.File]
    folders = [info for info in found if info.type == pafs.FileType.Directory]
    return files[0] if files else _first_file(filesystem, folders[0].path) if folders else None
