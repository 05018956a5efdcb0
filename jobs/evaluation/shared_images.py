"""Count evaluation images that are also training images, over the cluster, by their features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ray

from jobs.cluster.progress import wait_for
from lib.errors import ExperimentError
from lib.evaluation.shared_images import fingerprints
from lib.features.chunks import Chunk, read_chunk, split_into_chunks
from lib.features.tables import FeatureTables
from lib.storage.columns import column_vectors

ROWS = 16_384  # that one task looks at
FEW = 3  # images that a message names


@dataclass(frozen=True)
class SharedImages:
    """Evaluation images with the features of a training image."""

    count: int
    total: int  # evaluation images
    few: list[str]  # ids of some


def count_shared(stage: str, train: FeatureTables, val: FeatureTables, networks: list[str]) -> SharedImages:
    """Compare the features of two of the networks, the first and the last. The driver holds 8 bytes an evaluation
    image. `stage` is what the lines on the screen begin with.
    """
    chosen = list(dict.fromkeys([networks[0], networks[-1]]))
    judged = split_into_chunks(val, chosen, ROWS)
    parts = wait_for(stage, "parts looked at", [fingerprint_chunk.remote(chunk, chosen) for chunk in judged])
    prints = np.concatenate(parts)
    known = ray.put(np.unique(prints[prints > 0]))
    tasks = [matches.remote(chunk, chosen, known) for chunk in split_into_chunks(train, chosen, ROWS)]
    found = np.unique(np.concatenate(wait_for(stage, "parts compared", tasks)))
    places = np.flatnonzero(np.isin(prints, found))
    starts = np.cumsum([0, *map(len, parts)])
    few = []
    for place in places[:FEW].tolist():
        number = int(np.searchsorted(starts, place, side="right")) - 1
        few.append(id_at.remote(judged[number], place - int(starts[number])))
    return SharedImages(len(places), len(prints), ray.get(few))


def refuse_shared(shared: SharedImages, allowed: float, split: str = "val") -> None:
    """Raise ExperimentError if more than the share `allowed` of the evaluation images, of `split`, are training images,
    too.
    """
    if shared.count > allowed * shared.total:
        raise ExperimentError(
            f"images: {shared.count} of the {shared.total} images of {split} have the features of an image of "
            f"train, bit by bit, such as {', '.join(shared.few)}: a map is not judged on what it was fitted on. Take "
            f"them out of one split, or set images.max_shared, which is {allowed:g}"
        )


@ray.remote(num_cpus=1)
def fingerprint_chunk(chunk: Chunk, networks: list[str]) -> np.ndarray:
    """Return the fingerprints of a chunk's images."""
    rows = read_chunk(chunk)
    return fingerprints([column_vectors(rows, network) for network in networks])


@ray.remote(num_cpus=1)
def id_at(chunk: Chunk, place: int) -> str:
    """Return the id of one of a chunk's images."""
    name: str = read_chunk(chunk)["image_id"][place].as_py()
    return name


@ray.remote(num_cpus=1)
def matches(chunk: Chunk, networks: list[str], known: np.ndarray) -> np.ndarray:
    """Return those of the known fingerprints that images of a chunk have."""
    rows = read_chunk(chunk)
    found = fingerprints([column_vectors(rows, network) for network in networks])
    return found[np.isin(found, known)]
