"""URIs of files and folders, on a local disk or in an object store: what they may hold, and where they lead."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

import pyarrow.fs as pafs

from lib.errors import BadURI, StorageError
from lib.storage import gcs, s3
from lib.storage.places import open_place

STORES = ("s3", "gs")
SECRET = re.compile(r"[?&](sig|[^=&]*(key|secret|token|signature|credential|password)[^=&]*)=", re.IGNORECASE)


def check_uri(uri: str) -> None:
    """Raise BadURI if a URI, or a text with one, holds credentials or options of a store."""
    refuse_credentials(uri)
    before, separator, rest = uri.partition("://")
    if separator and before.endswith(STORES) and "?" in rest:
        raise BadURI(
            f"{uri.partition('?')[0]}?...: leave options out of URIs. The environment names them: AWS_ENDPOINT_URL, "
            "AWS_REGION"
        )


def check_uris(value: object, path: str = "") -> None:
    """Apply `check_uri` to every text in a JSON value. The message begins with the key that holds the text."""
    if isinstance(value, dict):
        for key, below in value.items():
            check_uris(below, f"{path}.{key}")
    elif isinstance(value, list):
        for below in value:
            check_uris(below, path)
    elif isinstance(value, str):
        try:
            check_uri(value)
        except BadURI as error:
            raise BadURI(f"{path.lstrip('.')}: {error}") from error


def refuse_credentials(uri: str) -> None:
    """Raise BadURI if `uri` holds credentials, which would end up in logs, tables and reports."""
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


def resolve(uri: str, probing: bool = False) -> tuple[pafs.FileSystem, str]:
    """Return the file system that `uri` names, and the path in it. A plain path is relative to the working directory.

    A store that does not answer is asked again for half a minute, and for some seconds if this is `probing`. Raises
    StorageError if the URI's scheme is unknown, or if its file system refuses to start.
    """
    if "://" not in uri:
        return pafs.LocalFileSystem(), os.path.abspath(os.path.expanduser(uri))
    refuse_credentials(uri)
    try:
        if uri.startswith("s3://"):
            return s3.open_s3(uri, s3.PROBING if probing else s3.PATIENT)
        if uri.startswith(("gs://", "gcs://")):
            return gcs.open_gcs(uri, gcs.PROBING if probing else gcs.PATIENT)
        if uri.startswith("file:///"):
            return pafs.LocalFileSystem(), unquote(uri.removeprefix("file://"))  # pyarrow refuses spaces there
        if not uri.startswith("file:"):
            return open_place(uri)
        filesystem, path = pafs.FileSystem.from_uri(uri)
    except (OSError, ValueError, NotImplementedError) as error:
        raise StorageError(
            f"cannot use {uri}: {error}. Allowed: a local path, file://, s3://, gs://, or what fsspec knows, such as "
            "hf://, https:// or az://"
        ) from error
    return filesystem, path


def join_uri(uri: str, *parts: str) -> str:
    """Return `uri` with `parts` below it, one slash between them."""
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts)])


def uri_beside(location: str, path: str) -> str:
    """Return a path in `location`'s file system as a URI, or as a plain path if it is local."""
    scheme, separator, rest = location.partition("://")
    if not separator or scheme == "file":
        return path
    if path.startswith(f"{scheme}://"):  # paths of https:// are whole
        return path
    return f"{scheme}://{'anonymous@' if rest.startswith('anonymous@') else ''}{path}"
