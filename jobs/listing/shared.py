"""Images that lie in two splits at the same place: counted by tasks, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import ray

from jobs.cluster.in_turn import in_turn
from lib.errors import ExperimentError
from lib.images.places import COLUMNS, known_among, place_numbers, places
from lib.images.tables import PART, ListingTable

ROWS = 16 * PART  # that one task looks at
AT_ONCE = 2**26  # evaluation images whose places are compared at once: 0.5 GB of numbers
ALONE = ("webdataset", "parquet", "tree")  # formats whose images all lie below their location


def check_shared(train: ListingTable, val: ListingTable, allowed: float, split: str = "val") -> int:
    """Return how many evaluation images lie at the same place as a training image.

    Raises ExperimentError if they are more than the share `allowed`: a map is not judged on what it was fitted on.
    """
    if apart(train, val):
        return 0
    shared, example = 0, None
    for start in range(0, val.rows, AT_ONCE):
        count, found = _shared(train, val, start, min(start + AT_ONCE, val.rows))
        shared += count
        example = example or found
    if shared > allowed * val.rows:
        raise ExperimentError(
            f"images: {shared} of the {val.rows} images of {split} are in train, too, such as {example}. Name one "
            f"split's files in each, as data/train-*.parquet does, or set images.max_shared, which is {allowed:g}"
        )
    return shared


def apart(train: ListingTable, val: ListingTable) -> bool:
    """Return whether the splits lie in folders of which none holds the other, so that they share no image."""
    folders = []
    for table in (train, val):
        made_from = table.manifest["made_from"]
        if made_from["format"] not in ALONE or "*" in made_from["location"]:
            return False
        folders.append(f"{made_from['location'].rstrip('/')}/")
    return not (folders[0].startswith(folders[1]) or folders[1].startswith(folders[0]))


def _shared(train: ListingTable, val: ListingTable, first: int, end: int) -> tuple[int, str | None]:
    """Return how many of the rows `first` to `end` of the evaluation images are training images, and one of them."""
    sets = [numbers.remote(val, low, min(low + ROWS, end)) for low in range(first, end, ROWS)]
    known = merge.remote(*sets)
    found = [
        part
        for part in in_turn(
            lambda low: matches.remote(train, low, min(low + ROWS, train.rows), known), range(0, train.rows, ROWS)
        )
        if len(part)
    ]
    if not found:
        return 0, None
    both = ray.put(np.unique(np.concatenate(found)))
    counted = list(in_turn(lambda low: count.remote(val, low, min(low + ROWS, end), both), range(first, end, ROWS)))
    return sum(number for number, _ in counted), next((one for _, one in counted if one), None)


@ray.remote(num_cpus=1)
def numbers(table: ListingTable, first: int, end: int) -> np.ndarray:
    """Return the places of some images, sorted."""
    return np.unique(place_numbers(table.read(first, end, COLUMNS)))


@ray.remote(num_cpus=1)
def merge(*sets: np.ndarray) -> np.ndarray:
    """Return all places, sorted."""
    return np.unique(np.concatenate(sets))


@ray.remote(num_cpus=1)
def matches(table: ListingTable, first: int, end: int, known: np.ndarray) -> np.ndarray:
    """Return those of the places of some images that are known."""
    found = place_numbers(table.read(first, end, COLUMNS))
    return found[known_among(found, known)]


@ray.remote(num_cpus=1)
def count(table: ListingTable, first: int, end: int, known: np.ndarray) -> tuple[int, str | None]:
    """Return how many of some images lie at a known place, and one such place."""
    images = table.read(first, end, COLUMNS)
    here: Sequence[int] = np.flatnonzero(known_among(place_numbers(images), known)).tolist()
    return len(here), places(images)[here[0]].as_py() if here else None
