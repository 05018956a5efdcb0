"""What a manifest records of each file: by its bytes and digest a file that is not as it was written is found."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from lib.errors import DamagedFile, StorageError
from lib.storage.files import is_file, read_bytes
from lib.storage.uris import join_uri

UP = "../"
DIGITS = 16  # hexadecimal ones of a sha256 that a record keeps


def digest_of_bytes(data: bytes | memoryview | pa.Buffer) -> str:
    """Return a short sha256."""
    return hashlib.sha256(data).hexdigest()[:DIGITS]


@dataclass(frozen=True)
class FileRecord:
    """A file's size, and the digest of all its bytes."""

    size: int  # bytes
    digest: str

    @classmethod
    def of(cls, data: bytes | pa.Buffer) -> FileRecord:
        """Return the record of a file with these contents."""
        return cls(len(data), digest_of_bytes(data))

    def check(self, uri: str, data: bytes) -> None:
        """Raise DamagedFile unless a file's contents are those that were recorded."""
        if len(data) != self.size:
            raise DamagedFile(uri, f"it has {len(data):,} bytes, its manifest says {self.size:,}")
        if digest_of_bytes(data) != self.digest:
            raise DamagedFile(uri, "its bytes are not those that were written, as its manifest's digest says")


Records = Mapping[str, FileRecord]  # by URI


def as_json(folder: str, records: Records) -> dict[str, dict[str, Any]]:
    """Return records as a manifest in `folder` has them: by the files' names, as seen from there."""
    return {posixpath.relpath(uri, folder): asdict(record) for uri, record in sorted(records.items())}


def records_in(folder: str, manifest: Mapping[str, Any]) -> dict[str, FileRecord]:
    """Return what a manifest in `folder` records of its files; nothing if an earlier version wrote it."""
    return {_seen_from(folder, name): FileRecord(**record) for name, record in manifest.get("files", {}).items()}


def _seen_from(folder: str, name: str) -> str:
    """Return the URI that a relative name leads to."""
    while name.startswith(UP):
        folder, name = folder.rpartition("/")[0], name.removeprefix(UP)
    return join_uri(folder, name)


def read_recorded(uri: str, record: FileRecord | None) -> bytes:
    """Return a file's contents, checked if there is a record. Raises DamagedFile, also if the file is missing."""
    try:
        data = read_bytes(uri)
    except StorageError as error:
        if record is not None and not is_file(uri):
            raise DamagedFile(uri, "it is missing, although its manifest names it") from error
        raise
    if record is not None:
        record.check(uri, data)
    return data
