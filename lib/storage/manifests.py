"""Manifests: what an artifact was made from. A manifest is written last, so its presence means that the artifact is
finished.

Beside an unfinished artifact, `started.json` holds what it is being made from, so that a run never goes on with work
that other settings began.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, TypeVar

import pyarrow as pa

from lib.errors import ManifestMismatch
from lib.storage.files import delete, for_all, is_file, read_bytes, read_json, write_json

PACKAGES = ("ray", "torch", "torchvision", "timm", "pyarrow", "numpy", "pillow", "safetensors")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that compute results."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}


def digest(value: object) -> str:
    """Return a short sha256 of a JSON value. It does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def file_digest(uri: str) -> str:
    """Return a short sha256 of a file's bytes."""
    return hashlib.sha256(read_bytes(uri)).hexdigest()[:16]


@dataclass(frozen=True)
class Artifact:
    """Something that a stage makes: a table, a map, pictures, weights, results or a report.

    `manifest` says what it was made from. `data` are the files and folders that are deleted before it is made anew.
    """

    manifest: str  # URI
    data: tuple[str, ...]  # URIs of files and folders
    made_from: dict[str, Any]

    @property
    def started(self) -> str:
        """The file that says what the unfinished artifact is being made from."""
        return self.manifest.removesuffix("manifest.json") + "started.json"

    def begin(self, overwrite: bool = False) -> bool:
        """Return whether the work is still to be done. It is not if a matching manifest says that it is finished.

        Raises ManifestMismatch if the artifact was made, or begun, from something else, unless `overwrite` is set.
        """
        for record in (self.manifest, self.started):
            if not is_file(record):
                continue
            found = read_record(record)
            if found is None:
                print(f"warning: {record} is damaged, so that what it describes is made anew", file=sys.stderr)
            elif record_matches(record, found, self.made_from, overwrite):
                return record == self.started
            self.remove()
            break
        write_json(self.started, {"made_from": self.made_from})
        return True

    def finish(self, rows: int, schema: pa.Schema | None = None, **described: Any) -> None:
        """Write the manifest: from now on the artifact counts as finished."""
        columns = {} if schema is None else {"schema": {field.name: str(field.type) for field in schema}}
        manifest = {"rows": rows, **columns, "made_from": self.made_from, **described, "versions": versions()}
        write_json(self.manifest, manifest)
        delete(self.started)

    def remove(self) -> None:
        """Delete the artifact, its manifest first, so that half an artifact never looks finished."""
        for uri in (self.manifest, *self.data, self.started):
            delete(uri)


Key = TypeVar("Key")


def begin_all(artifacts: Mapping[Key, Artifact], overwrite: bool = False) -> dict[Key, Artifact]:
    """Begin all these artifacts, many at once, since a store takes its time for each. Return those that have work left.

    Raises as Artifact.begin does.
    """
    begun = for_all(lambda artifact: artifact.begin(overwrite), artifacts.values())
    return {key: artifact for (key, artifact), todo in zip(artifacts.items(), begun, strict=True) if todo}


def read_manifests(uris: Mapping[Key, str]) -> dict[Key, dict[str, Any]]:
    """Read many manifests at once. Raises StorageError if one is not there."""
    return dict(zip(uris, for_all(read_json, uris.values()), strict=True))


def read_manifest(uri: str) -> dict[str, Any] | None:
    """Return a manifest; None if it is empty or cut, as files may be after a loss of power."""
    try:
        found: dict[str, Any] = json.loads(read_bytes(uri))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def read_record(uri: str) -> dict[str, Any] | None:
    """Return what a manifest or a `started.json` says its artifact is made from; None if the file is damaged."""
    found = (read_manifest(uri) or {}).get("made_from")
    return found if isinstance(found, dict) else None


def record_matches(record: str, found: dict[str, Any], wanted: dict[str, Any], overwrite: bool) -> bool:
    """Return whether what `record` says equals what is wanted.

    Raises ManifestMismatch if it differs, unless `overwrite` is set.
    """
    differing = differences(found, wanted)
    if differing and not overwrite:
        raise ManifestMismatch(
            f"{record} was made from other settings: {'; '.join(differing)}. "
            "Use --overwrite to make it anew, or another --root to keep both"
        )
    return not differing


def differences(found: object, expected: object, path: str = "") -> list[str]:
    """Return what differs between two JSON values, one line "key was found, now expected" for each."""
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = sorted(found.keys() | expected.keys())
        return [line for key in keys for line in differences(found.get(key), expected.get(key), f"{path}.{key}")]
    return [] if found == expected else [f"{path.lstrip('.')} was {found!r}, now {expected!r}"]
