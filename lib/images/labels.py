"""Class names and labels: which integer a folder name or a label in a file stands for."""

from __future__ import annotations

import collections

import pyarrow.fs as pafs

from lib.errors import ListingError
from lib.experiment.settings import Images, Split
from lib.images.formats import detect_format
from lib.storage.files import read_bytes
from lib.storage.uris import resolve


def read_classes(uri: str) -> list[str]:
    """Return all class names, sorted, from a file with one on each line.

    Raises ListingError if a name is there twice.
    """
    names = [line.strip() for line in read_bytes(uri).decode().splitlines() if line.strip()]
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice or not names:
        raise ListingError(f"{uri}: expected one class name on each line, each once; found twice: {twice[:5]}")
    return sorted(names)


def class_names(images: Images) -> list[str] | None:
    """Return the classes' names in the order of their labels; None if neither a file nor a tree's folders tell them."""
    if images.classes:
        return read_classes(images.classes)
    return tree_classes(images.val) or None if detect_format(images.val) == "tree" else None


def tree_classes(split: Split) -> list[str]:
    """Return the names of a tree's class folders, sorted."""
    filesystem, path = resolve(split.location)
    found = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    return sorted(
        info.base_name for info in found if info.type == pafs.FileType.Directory and not info.base_name.startswith(".")
    )


def parse_label(split: Split, label: str | float | None, place: dict[str, int]) -> int | None:
    """Return a label as an integer; None if it is empty. Raises ListingError if it is no class."""
    if label is None or label == "":
        return None
    if isinstance(label, str) and label in place:
        return place[label]
    try:
        return int(label)
    except ValueError:
        known = f"none of the {len(place)} class names" if place else "no number, and no images.classes are given"
        raise ListingError(f"{split.location}: label {label!r} is {known}") from None
