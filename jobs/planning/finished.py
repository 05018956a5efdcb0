"""A finished run's seal: with it, the same command knows in a second, without Ray or torch, that nothing is to be done.

It holds digests of all that the run could depend on: settings, program, packages, the files of weights and class names,
and the version of every file in the run's folder. Listings are compared with the images themselves. Whatever differs,
or cannot be looked at cheaply, only means that the stages look for themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from jobs.cluster.runs import Run
from jobs.listing.unchanged import images_unchanged
from lib.errors import UserError
from lib.networks.weight_files import package_file
from lib.storage.files import file_version, is_file, is_folder, naming_uri
from lib.storage.leases import lease_in
from lib.storage.manifests import Artifact, digest, versions
from lib.storage.patterns import is_pattern
from lib.storage.uris import resolve
from lib.storage.vector_files import file_versions, vector_files
from lib.storage.versions import version_of

PACKAGE = "package:"
# Settings that name no files, or those with images or vectors, which are looked at by themselves.
NO_INPUTS: Any = {
    "images": {"train": True, "val": True, "eval": {"__all__": {"location", "base"}}},
    "networks": {"__all__": {"features"}},
    "name": True,
    "title": True,
    "published": True,
    "track": True,
    "fit": True,
}
PROJECT = Path(__file__).parents[2]

Inputs = dict[str, str] | None  # the version of each file that the settings name; None if one cannot be known


def is_finished(run: Run) -> bool:
    """Return whether nothing has changed since this run was sealed, so that it has nothing to do."""
    if run.repair or not is_file(run.files.seal):
        return False
    try:
        found = seal(run, inputs(run))
        splits = run.experiment.images.splits
        return found is not None and found.look(True) == "finished" and all(images_unchanged(run, s) for s in splits)
    except UserError:
        return False  # the stages say what is wrong


def write_seal(run: Run, before: Inputs) -> None:
    """Seal a run of which all is done. `before` are its inputs as they were when it began."""
    made = seal(run, before)
    if made is not None and before == inputs(run):
        made.finish(1)


def seal(run: Run, given: Inputs) -> Artifact | None:
    """Return the seal of a run with these inputs; None if not all of them can be known."""
    if given is None:
        return None
    made_from = {
        "experiment": digest(run.written.model_dump(mode="json")),
        "program": program_digest(),
        "versions": versions(),
        "inputs": given,
        "files": folder_digest(run),
    }
    return Artifact(run.files.seal, (), made_from)


def inputs(run: Run) -> Inputs:
    """Return the version of each file outside the run's folder that holds weights, vectors, class names or the like.

    None if the settings name a folder or a pattern besides images and vectors, a network of the hub, or a package that
    is not there.
    """
    experiment, found = run.experiment, dict[str, str]()
    if any(network.model.startswith("transformers:") for network in experiment.networks.values()):
        return None  # a folder, or a repository of the hub, whose files may change
    settings = experiment.model_dump(mode="json", exclude=NO_INPUTS)
    try:
        for files in [network.features for network in experiment.networks.values() if network.features is not None]:
            for split in experiment.images.splits:
                found |= {file: version for file, version in file_versions(vector_files(files.location(split)))}
        for text in filter(None, texts_in(settings)):
            path = str(package_file("", text.removeprefix(PACKAGE))) if text.startswith(PACKAGE) else text
            if path.startswith(run.files.folder):
                continue  # what it holds is among the folder's files
            if is_pattern(path) or is_folder(path):
                return None
            if is_file(path):
                found[path] = file_version(path)
    except UserError:
        return None
    return found


def texts_in(value: object) -> Iterator[str]:
    """Yield all texts that stand in a JSON value, as names of files may."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for below in value.values() if isinstance(value, dict) else value:
            yield from texts_in(below)


def folder_digest(run: Run) -> str:
    """Return a digest of the names, sizes and times of all files in the run's folder but the seal and the lease."""
    folder, own = run.files.folder, {resolve(uri)[1] for uri in (run.files.seal, lease_in(run.files.folder))}
    filesystem, path = resolve(folder)
    with naming_uri("list", folder):
        found = filesystem.get_file_info(pafs.FileSelector(path, recursive=True, allow_not_found=True))
    local = isinstance(filesystem, pafs.LocalFileSystem)
    files = [info for info in found if info.type == pafs.FileType.File and info.path not in own]
    lines = sorted(f"{info.path[len(path) :]}\0{info.size}\0{version_of(info, local)}" for info in files)
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]


def program_digest() -> str:
    """Return a digest of the project's own files."""
    found = hashlib.sha256()
    for path in sorted(file for part in ("jobs", "lib") for file in (PROJECT / part).rglob("*") if file.is_file()):
        if "__pycache__" not in path.parts:
            found.update(f"{path.relative_to(PROJECT)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]
