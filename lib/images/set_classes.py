"""Which classes an evaluation set has: the labels of a tree's folders, and the subset that answers are chosen among."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from lib.errors import ListingError
from lib.experiment.evaluation_sets import EvaluationSet
from lib.experiment.settings import Images
from lib.experiment.splits import Split
from lib.images.formats import detect_format
from lib.images.labels import class_folders, class_lines, parse_label, read_classes, tree_classes
from lib.images.tables import ListingTable

WNID = re.compile(r"n\d{8}")
CURE = (
    "Give images.classes, a file of all the networks' class names in the order of their labels, one on each line, that "
    "has these names"
)


def known_classes(images: Images) -> list[str] | None:
    """Return the names of all the networks' classes in the order of their labels; None if nothing tells them.

    The experiment's file tells them, else the folders of val or train, else the table of another run.
    """
    named = read_classes(images)
    if named is not None:
        return named
    for split in (images.val, images.train):
        kind = detect_format(split)
        found = tree_classes(split) if kind == "tree" else None
        if kind == "table":
            found = ListingTable.load(split.location).classes
        if found:
            return found
    return None


def listed_classes(images: Images, split: str) -> list[str] | None:
    """Return the class names by which a split is listed: sets know those of the networks, train and val name theirs."""
    return known_classes(images) if split in images.eval else read_classes(images)


def folder_labels(split: Split, classes: Sequence[str] | None) -> dict[str, int]:
    """Return the label of each class folder of a tree that has one.

    Folders that are the numbers 0, 1, ... are places: among the lines of the set's own `classes` if there are as many,
    else among all classes. Other names are looked for among `classes`, all class names in the order of their labels.
    Without these, the folders themselves are the classes; those of an evaluation set must then be WordNet ids, since
    no other names tell an order that networks share. Raises ListingError if a folder's label remains unknown.
    """
    folders = class_folders(split)
    places = {name: place for place, name in enumerate(classes or ())}
    named = {name: places[name] for name in folders if name in places}
    numbered = all(map(str.isdecimal, folders)) and not named
    if classes is None or (numbered and folders):
        folders = tree_classes(split)
    if isinstance(split, EvaluationSet) and split.classes is not None and numbered:
        subset = read_subset(split.classes, classes)
        if len(subset) == len(folders):
            return dict(zip(folders, subset, strict=True))
    if classes is None:
        if isinstance(split, EvaluationSet) and not numbered and not all(map(WNID.fullmatch, folders)):
            other = next(name for name in folders if not WNID.fullmatch(name))
            raise ListingError(
                f"{split.location}: class folder {other!r} is neither a WordNet id nor a number, and no class names "
                f"are known among which it has a place. {CURE}"
            )
        return {name: place for place, name in enumerate(folders)}
    if not numbered:
        return named
    if len(folders) != len(classes):
        raise ListingError(
            f"{split.location}: class folders are the numbers 0 to {len(folders) - 1}, but there are {len(classes)} "
            "classes, so that their meaning is unknown. Name the classes that they count: [images.eval.NAME] classes = "
            f"a file of {len(folders)} class names, in the order of the folders, or rename the folders"
        )
    return {name: place for place, name in enumerate(folders)}


def read_subset(uri: str, classes: Sequence[str] | None) -> list[int]:
    """Return the labels that a file names, in its order: on each line a class name, or a label as a number.

    Raises ListingError if a line is neither, or if a class stands there twice.
    """
    place = {name: label for label, name in enumerate(classes or ())}
    found = [parse_label(uri, line, place) for line in class_lines(uri)]
    labels = [label for label in found if label is not None]
    twice = [label for label, count in Counter(labels).items() if count > 1]
    if twice:
        raise ListingError(f"{uri}: classes {twice[:5]} stand there twice")
    outside = [label for label in labels if label < 0 or (classes is not None and label >= len(classes))]
    if outside:
        raise ListingError(f"{uri}: {outside[:5]} are no labels of the {len(place)} classes")
    return labels


def subset_of(split: EvaluationSet, folders: Sequence[int] | None, classes: Sequence[str] | None) -> list[int] | None:
    """Return the labels of a set's classes, ascending; None if it has all that are known, or no subset is named.

    They are those of its file, else those of a tree's `folders`. `classes` are all class names that its listing knows.
    """
    labels = folders if split.classes is None else read_subset(split.classes, classes)
    if labels is None or (classes is not None and len(labels) == len(classes)):
        return None
    return sorted(labels)
