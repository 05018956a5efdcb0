"""Which files of a folder belong to a split, where the images lie in tar shards or Parquet files."""

from __future__ import annotations

import re
from posixpath import basename

import pyarrow.fs as pafs

from lib.errors import ListingError
from lib.storage.files import is_file
from lib.storage.patterns import folder_of, is_pattern, pattern_of
from lib.storage.uris import join_uri, resolve
from lib.storage.versions import Versioned, versioned
from lib.storage.walking import walk_files

# How data sets call their splits, at the beginning of a file's name or as a folder's.
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val"}
SPLITS |= {"test": "test", "testing": "test", "eval": "eval", "evaluation": "eval"}
NAME = re.compile(rf"({'|'.join(sorted(SPLITS, key=len, reverse=True))})(?![a-z])", re.IGNORECASE)


def split_files(location: str, suffix: str, recursive: bool = False) -> tuple[str, list[Versioned]]:
    """Return a folder's path, and, in the order of their paths, the files with `suffix` that `location` names in it.

    `location` is a folder, a pattern such as data/train-*.parquet, or one file. Raises ListingError if the files of a
    folder belong to several splits by their names.
    """
    if is_pattern(location):
        pattern = pattern_of(location)
        found = walk_files(folder_of(location), recursive=False)
        named = [file for file in found if file.path.endswith(suffix) and pattern.fullmatch(basename(file.path))]
        return resolve(folder_of(location))[1].rstrip("/"), named
    if is_file(location):
        filesystem, path = resolve(location)
        info = filesystem.get_file_info(path)
        return path.rpartition("/")[0], [versioned(info, isinstance(filesystem, pafs.LocalFileSystem))]
    root = resolve(location)[1].rstrip("/")
    files = [file for file in walk_files(location, recursive) if file.path.endswith(suffix)]
    _refuse_several_splits(location, [file.path[len(root) + 1 :] for file in files], suffix)
    return root, files


def _refuse_several_splits(location: str, names: list[str], suffix: str) -> None:
    """Raise ListingError if the files called `names`, relative to `location`, belong to several splits."""
    found: dict[str, list[str]] = {}
    for name in names:
        split, part = _split_of(name)
        if split is not None:
            found.setdefault(split, []).append(part)
    if len(found) > 1:
        counts = ", ".join(f"{split} ({len(parts)} files)" for split, parts in found.items())
        first = next(iter(found.values()))[0]
        example = join_uri(location, first if first.endswith("/") else f"{first}*{suffix}")
        raise ListingError(
            f"{location} holds files of several splits: {counts}. Name the files of one split, such as {example}"
        )


def _split_of(name: str) -> tuple[str | None, str]:
    """Return the split that a file's path tells, None if it tells none, and the part of the path that tells it.

    The part ends with a slash if it is a folder.
    """
    *folders, file = name.split("/")
    for depth, folder in enumerate(folders):
        if folder.lower() in SPLITS:
            return SPLITS[folder.lower()], "/".join([*folders[: depth + 1], ""])
    found = NAME.match(file)
    if found is None:
        return None, ""
    return SPLITS[found[1].lower()], "/".join([*folders, file[: found.end() + 1].rstrip(".")])
