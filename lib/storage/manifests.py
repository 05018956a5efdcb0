"""Manifests: what an artifact was made from. A manifest is written last, so its presence means that the artifact is
finished.

Beside an unfinished artifact, `started.json` holds what it is being made from, so that a run never goes on with work
that other settings began.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, Literal, TypeVar

import pyarrow as pa

from lib.errors import DamagedFile, ManifestMismatch
from lib.storage.files import delete, for_all, is_file, read_bytes, without_nan, write_json
from lib.storage.patterns import folder_of
from lib.storage.records import FileRecord, Records, as_json, digest_of_bytes, read_recorded, records_in

DIGEST = "digest"  # a manifest's key with the digest of all its other keys
State = Literal["new", "begun", "finished", "stale"]
PACKAGES = ("ray", "torch", "torchvision", "timm", "pyarrow", "numpy", "pillow", "safetensors")


@cache  # each is looked for among all packages, and every map has a manifest
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that compute results."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}


def digest(value: object) -> str:
    """Return a short sha256 of a JSON value. It does not depend on the order of keys."""
    return digest_of_bytes(json.dumps(value, sort_keys=True).encode())


@dataclass(frozen=True)
class Artifact:
    """Something that a stage makes: a table, a map, pictures, weights, results or a report.

    `manifest` says what it was made from. `data` are the files and folders that are deleted before it is made anew.
    """

    manifest: str  # URI
    data: tuple[str, ...]  # URIs of files and folders
    made_from: dict[str, Any]

    @property
    def folder(self) -> str:
        """The folder of the manifest."""
        return folder_of(self.manifest)

    @property
    def started(self) -> str:
        """The file that says what the unfinished artifact is being made from."""
        return self.manifest.removesuffix("manifest.json") + "started.json"

    def look(self, overwrite: bool = False) -> State:
        """Return how far the artifact is. Nothing is changed.

        Raises ManifestMismatch if the artifact was made, or begun, from something else, unless `overwrite` is set.
        """
        for record in (self.manifest, self.started):
            if not is_file(record):
                continue
            found = read_record(record)
            if found is None:
                print(f"warning: {record} is damaged, so that what it describes is made anew", file=sys.stderr)
            elif record_matches(record, found, self.made_from, overwrite):
                return "finished" if record == self.manifest else "begun"
            return "stale"
        return "new"

    def start(self, state: State) -> bool:
        """Return whether the work is still to be done, in this state that `look` found. What is stale is removed."""
        if state == "stale":
            self.remove()
        if state in ("stale", "new"):
            write_manifest(self.started, {"made_from": self.made_from})
        return state != "finished"

    def begin(self, overwrite: bool = False) -> bool:
        """Look and start: return whether the work is still to be done. Raises ManifestMismatch as `look` does."""
        return self.start(self.look(overwrite))

    def finish(
        self, rows: int, schema: pa.Schema | None = None, records: Records | None = None, **described: Any
    ) -> None:
        """Write the manifest: from now on the artifact counts as finished. `records` are of its files."""
        columns = {} if schema is None else {"schema": {field.name: str(field.type) for field in schema}}
        files = {} if records is None else {"files": as_json(self.folder, records)}
        manifest = {"rows": rows, **columns, "made_from": self.made_from, **described, "versions": versions(), **files}
        write_manifest(self.manifest, manifest)
        delete(self.started)

    def damage(self) -> list[DamagedFile]:
        """Read the files of a finished artifact, and return what is wrong with those that its manifest records."""
        found = []
        for uri, record in records_in(self.folder, read_manifest(self.manifest) or {}).items():
            try:
                read_recorded(uri, record)
            except DamagedFile as error:
                found.append(error)
        return found

    def reopen(self) -> None:
        """Let a finished artifact count as begun: what is missing of it can be made."""
        write_manifest(self.started, {"made_from": self.made_from})
        delete(self.manifest)

    def remove(self) -> None:
        """Delete the artifact, its manifest first, so that half an artifact never looks finished."""
        for uri in (self.manifest, *self.data, self.started):
            delete(uri)


Key = TypeVar("Key")
Search = Callable[[list[Artifact]], list[list[DamagedFile]]]  # what is wrong with each of these artifacts


def begin_all(
    artifacts: Mapping[Key, Artifact], overwrite: bool = False, search: Search | None = None
) -> dict[Key, Artifact]:
    """Begin all these artifacts, many at once, since a store takes its time for each. Return those that have work left.

    All are compared before any is changed. `search` looks for damage in those that are finished; what it finds is made
    anew. Raises as Artifact.look does.
    """
    states = dict(zip(artifacts, for_all(lambda artifact: artifact.look(overwrite), artifacts.values()), strict=True))
    finished = [key for key, state in states.items() if search is not None and state == "finished"]
    if search is not None and finished:
        damaged = search([artifacts[key] for key in finished])
        states |= {key: "stale" for key, errors in zip(finished, damaged, strict=True) if errors}
    begun = for_all(lambda key: artifacts[key].start(states[key]), artifacts)
    return {key: artifact for (key, artifact), todo in zip(artifacts.items(), begun, strict=True) if todo}


def write_manifest(uri: str, content: dict[str, Any]) -> None:
    """Write a manifest or another record with a digest of itself, by which a damaged one is known."""
    plain = json.loads(json.dumps(without_nan(content)))
    write_json(uri, plain | {DIGEST: digest(plain)})


def read_manifests(uris: Mapping[Key, str]) -> dict[Key, dict[str, Any]]:
    """Read many manifests at once. Raises StorageError if one is not there, DamagedFile if one is damaged."""

    def read(uri: str) -> dict[str, Any]:
        """Return one manifest."""
        found = read_manifest(uri)
        if found is None:
            raise DamagedFile(uri, "it is not what was written, as its own digest says")
        return found

    return dict(zip(uris, for_all(read, uris.values()), strict=True))


def read_records(manifest: str) -> dict[str, FileRecord]:
    """Return what a manifest records of its files, by URI; nothing if it has no records or is not there.

    Raises DamagedFile if it is damaged.
    """
    if not is_file(manifest):
        return {}
    return records_in(folder_of(manifest), read_manifests({"": manifest})[""])


def read_manifest(uri: str) -> dict[str, Any] | None:
    """Return a manifest; None if it is not what was written, as files may be after a loss of power.

    What an earlier version wrote has no digest, and is believed if it is JSON. Raises StorageError if it is not there.
    """
    data = read_bytes(uri)
    try:
        found: Any = json.loads(data)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    said = found.pop(DIGEST, None)
    return found if said is None or said == digest(found) else None


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
