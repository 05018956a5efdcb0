"""Locations whose last part names several files of one folder by a pattern, such as data/train-*.parquet."""

from __future__ import annotations

import posixpath
import re

from lib.storage.files import files_below

ANY = "*"  # any characters of a file's name


def is_pattern(uri: str) -> bool:
    """Return whether the last part of `uri` holds a *."""
    return ANY in uri.rpartition("/")[2]


def folder_of(uri: str) -> str:
    """Return the folder whose files a pattern names."""
    return uri.rpartition("/")[0] or ("/" if uri.startswith("/") else ".")


def pattern_of(uri: str) -> re.Pattern[str]:
    """Return an expression that the names of the files match that a pattern names."""
    return re.compile(".*".join(re.escape(part) for part in uri.rpartition("/")[2].split(ANY)))


def files_matching(uri: str) -> list[str]:
    """Return the sorted paths, in the file system of `uri`, of the files that a pattern names.

    Raises StorageError if the store does not answer.
    """
    pattern = pattern_of(uri)
    return [path for path in files_below(folder_of(uri)) if pattern.fullmatch(posixpath.basename(path))]
