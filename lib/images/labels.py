"""Class names and labels: which integer a folder name or a label in a file stands for."""

from __future__ import annotations

import collections
import itertools
import posixpath
import re
from collections.abc import Callable
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from lib.errors import ListingError
from lib.experiment.settings import Images, Split
from lib.images.formats import detect_format
from lib.images.timm_files import file_named
from lib.storage.files import folders_in, read_bytes

NO_CLASSES = {"__MACOSX", "lost+found"}  # folders that archives and file systems leave beside class folders
LONGEST = 1000  # digits, below what Python refuses to read
LARGEST = 2**31 - 1  # labels are int32 in all tables


def read_classes(images: Images) -> list[str] | None:
    """Return all class names in the order of their labels, from the experiment's file; None if it names no file.

    Raises ListingError if the file is not UTF-8, a name is there twice, or the names are not sorted and the experiment
    does not say that line k is class k.
    """
    uri = images.classes
    if uri is None:
        return None
    names = class_lines(uri)
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice:
        raise ListingError(f"{uri}: expected one class name on each line, each once; found twice: {twice[:5]}")
    if names != sorted(names) and images.class_order is None:
        before, after = next((a, b) for a, b in itertools.pairwise(names) if a > b)
        raise ListingError(
            f"{uri}: its names are not sorted: {after!r} comes after {before!r}. If line k is class k of the networks, "
            'set images.class_order = "file"; if the networks count the sorted names, set images.class_order = "sorted"'
        )
    return sorted(names) if images.class_order == "sorted" else names


def class_lines(uri: str) -> list[str]:
    """Return the lines of a file of class names that are not empty. Raises ListingError if it has none, or is not
    UTF-8.
    """
    try:
        text = read_bytes(file_named(uri)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ListingError(f"{uri}: expected class names in UTF-8: {error}. Save the file as UTF-8") from error
    names = [line.strip() for line in re.split(r"\r\n|\r|\n", text) if line.strip()]
    if not names:
        raise ListingError(f"{uri}: expected one class name on each line, found none")
    return names


def class_names(images: Images) -> list[str] | None:
    """Return the classes' names in the order of their labels; None if neither a file nor a tree's folders tell them."""
    if images.classes:
        return read_classes(images)
    return tree_classes(images.val) or None if detect_format(images.val) == "tree" else None


def class_folders(split: Split) -> list[str]:
    """Return the names of a tree's class folders, sorted as text, without hidden ones and those that archives leave."""
    names = sorted(map(posixpath.basename, folders_in(split.location)))
    return [name for name in names if not name.startswith(".") and name not in NO_CLASSES]


def tree_classes(split: Split) -> list[str]:
    """Return the names of a tree's class folders in the order of their labels: numbers by value, other names as text.

    Raises ListingError if some names are whole numbers and others are not, if the numbers are not 0, 1, 2, ..., or if
    names with numbers in them, such as class2 and class10, have another order as text.
    """
    names = class_folders(split)
    numbers = [name for name in names if name.isdecimal()]
    cure = "Give images.classes, a file of all class names in the order of their labels"
    if not numbers:
        for one, other in itertools.pairwise(names):
            if _swapped(one, other):
                raise ListingError(
                    f"{split.location}: class folder {one!r} comes before {other!r} as text, but not by its number, so "
                    f"that the labels are unknown. {cure}"
                )
        return names
    if len(numbers) < len(names):
        others = [name for name in names if name not in numbers]
        raise ListingError(
            f"{split.location}: some class folders are numbers, such as {numbers[0]!r}, and others are not, such as "
            f"{others[0]!r}, so that their order is unknown. {cure}"
        )
    ordered = sorted(names, key=int)
    if [int(name) for name in ordered] != list(range(len(ordered))):
        raise ListingError(
            f"{split.location}: class folders are numbers, which would be the labels, but they are not 0 to "
            f"{len(ordered) - 1}: the largest is {ordered[-1]}. {cure}"
        )
    return ordered


def _swapped(one: str, other: str) -> bool:
    """Return whether the first thing that tells two names apart are numbers, of which the greater one comes first."""
    for ours, theirs in zip(re.split(r"(\d+)", one), re.split(r"(\d+)", other), strict=False):
        if ours != theirs:
            return ours.isdecimal() and theirs.isdecimal() and int(ours) > int(theirs)
    return False


def parse_labels(where: Callable[[int], str], labels: pa.Array | pa.ChunkedArray, place: dict[str, int]) -> pa.Array:
    """Return a column of labels as int32, each as `parse_label` has it. Each distinct label is looked at once.

    Raises ListingError, which begins with `where` of the first row whose label is none.
    """
    if pa.types.is_null(labels.type):
        return pa.nulls(len(labels), pa.int32())
    if pa.types.is_dictionary(labels.type):
        labels = labels.cast(labels.type.value_type)
    if isinstance(labels, pa.ChunkedArray):
        labels = labels.combine_chunks()
    encoded = labels.dictionary_encode()
    parsed, wrong = list[int | None](), list[int]()
    distinct = encoded.dictionary.to_pylist()
    for code, label in enumerate(distinct):
        try:
            parsed.append(parse_label("", label, place))
        except ListingError:
            parsed.append(None)
            wrong.append(code)
    if wrong:
        row = min(pc.index(encoded.indices, pa.scalar(code, encoded.indices.type)).as_py() for code in wrong[:100])
        parse_label(where(row), distinct[encoded.indices[row].as_py()], place)
    return pa.array(parsed, pa.int32()).take(encoded.indices)


def parse_label(where: str, label: str | float | Decimal | None, place: dict[str, int]) -> int | None:
    """Return a label as an integer; None if it is empty.

    A text that is among the class names `place` is its class. Anything else must be a whole number, such as 3 or 3.0.
    Raises ListingError, which begins with `where`, if it is neither, or is larger than tables hold.
    """
    if label is None or label == "" or label != label:
        return None
    if isinstance(label, str) and label in place:
        return place[label]
    number = _whole(label)
    if number is None:
        known = f"none of the {len(place)} class names, and no whole number" if place else "no whole number"
        more = "" if place else ", and no images.classes are given in which to look for it"
        raise ListingError(f"{where}: label {label!r} is {known}{more}")
    if abs(number) > LARGEST:
        raise ListingError(f"{where}: label {label!r} is beyond {LARGEST}, the largest that tables hold")
    return number


def _whole(label: str | float | Decimal) -> int | None:
    """Return a label as a whole number, None if it is none. "1_0" is none, though Python reads it as 10."""
    if isinstance(label, bool):
        return None
    if isinstance(label, int):
        return label
    text = str(label).strip()
    whole, _, rest = text.partition(".")
    digits = whole[1:] if whole[:1] in ("-", "+") else whole
    known = digits.isascii() and digits.isdecimal() and len(digits) < LONGEST and not rest.strip("0")
    return int(whole) if known else None
