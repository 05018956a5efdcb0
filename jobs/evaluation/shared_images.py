"""Count evaluation images that are also training images, over the cluster, by their features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ray

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


def count_shared(train: FeatureTables, val: FeatureTables, networks: list[str]) -> SharedImages:
    """Compare the features of two of the networks, the first and the last. The driver holds 8 bytes an evaluation
    image.
    """
    chosen = list(dict.fromkeys([networks[0], networks[-1]]))
    parts = ray.get([fingerprint_chunk.remote(chunk, chosen) for chunk in split_into_chunks(val, chosen, ROWS)])
    prints = np.concatenate([found for found, _ in parts])
    ids = [image_id for _, names in parts for image_id in names]
    known = ray.put(np.unique(prints[prints > 0]))
    chunks = split_into_chunks(train, chosen, ROWS)
    found = np.unique(np.concatenate(ray.get([matches.remote(chunk, chosen, known) for chunk in chunks])))
    places = np.flatnonzero(np.isin(prints, found))
    return SharedImages(len(places), len(prints), [ids[place] for place in places[:FEW].tolist()])


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
def fingerprint_chunk(chunk: Chunk, networks: list[str]) -> tuple[np.ndarray, list[str]]:
    """Return the fingerprints and the ids of a chunk's images."""
    rows = read_chunk(chunk)
    return fingerprints([column_vectors(rows, network) for network in networks]), rows["image_id"].to_pylist()


@ray.remote(num_cpus=1)
def matches(chunk: Chunk, networks: list[str], known: np.ndarray) -> np.ndarray:
    """Return those of the known fingerprints that images of a chunk have."""
    rows = read_chunk(chunk)
    found = fingerprints([column_vectors(rows, network) for network in networks])
    return found[np.isin(found, known)]
