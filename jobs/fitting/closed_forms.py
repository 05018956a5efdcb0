"""Closed-form maps: sums over the training features in one distributed pass, then a task for each pair of networks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import ray

from jobs.cluster.capacity import Capacity
from lib.experiment.variants import PARTS, Variant, assign_parts, map_name
from lib.features.chunks import SUMMED, Chunk, read_chunk, split_into_chunks, vectors_of
from lib.maps.affine import AffineMap
from lib.maps.classifier_maps import from_classifiers
from lib.maps.moments import JointMoments, Moments
from lib.maps.procrustes import orthogonal
from lib.maps.ridge import choose_ridge, least_squares, low_rank
from lib.networks.classifiers import Classifier
from lib.storage.uris import join_uri

Made = dict[Variant, dict[str, Any]]


def sum_moments(features: str, networks: list[str]) -> list[ray.ObjectRef]:
    """JointMoments of each of the PARTS of the training rows, in the object store."""
    work = split_into_chunks(features, networks, SUMMED)
    tasks = min(len(work), max(1, int(Capacity.now().cpus)))
    shares = [sum_chunks.remote(work[task::tasks], networks) for task in range(tasks)]
    return [add_up.remote(*part) for part in zip(*shares, strict=True)]


@ray.remote(num_cpus=1, num_returns=len(PARTS))
def sum_chunks(work: list[Chunk], networks: list[str]) -> list[JointMoments]:
    """One worker's share of the pass: a chunk of rows at a time."""
    sums: list[JointMoments | None] = [None] * len(PARTS)
    for chunk in work:
        rows = read_chunk(chunk)
        part = assign_parts(rows["image_id"].to_pylist())
        vectors = {network: vectors_of(rows, network) for network in networks}
        for place in range(len(PARTS)):
            moments = JointMoments.of({network: F[part == place] for network, F in vectors.items()})
            before = sums[place]
            sums[place] = moments if before is None else before + moments
    return [moments for moments in sums if moments is not None]


@ray.remote(num_cpus=1)
def add_up(*shares: JointMoments) -> JointMoments:
    return reduce(add, shares)


@ray.remote(num_cpus=1)
def fit_pair(folder: str, source: str, target: str, which: list[Variant], moments: list[ray.ObjectRef]) -> Made:
    """Fit and save these maps of one pair; what their manifests say of each."""
    C_S, C_T = (Classifier.load(join_uri(folder, "classifiers", f"{name}.safetensors")) for name in (source, target))
    parts = [part.pair(source, target) for part in ray.get(moments)]
    ridges = Ridges(parts, _labels(C_T)[0])
    made: Made = {}
    for variant, map_, described in _maps(which, parts, ridges, C_S, C_T):
        map_.save(join_uri(folder, "maps", f"{map_name(source, target, variant)}.safetensors"))
        made[variant] = described
    return made


def _labels(classifier: Classifier) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of the classes that labels name: without the background."""
    return classifier.weight[classifier.offset :].numpy(), classifier.bias[classifier.offset :].numpy()


class Ridges:
    """The ridge for each share of the training rows, chosen once, by cross-validation without labels."""

    def __init__(self, parts: list[Moments], classifier_weight: np.ndarray) -> None:
        self.parts, self.classifier_weight = parts, classifier_weight
        self.chosen: dict[float, float] = {}

    def __call__(self, variant: Variant) -> float:
        if variant.share not in self.chosen:
            mine = self.parts[: variant.parts]
            smaller = [part for part, share in zip(mine, PARTS, strict=False) if share < PARTS[variant.parts - 1]]
            folds = [*([reduce(add, smaller)] if smaller else []), *mine[len(smaller) :]]  # of about equal size
            self.chosen[variant.share], _ = choose_ridge(folds, classifier_weight=self.classifier_weight)
        return self.chosen[variant.share]


def _maps(
    which: list[Variant], parts: list[Moments], ridges: Ridges, C_S: Classifier, C_T: Classifier
) -> Iterator[tuple[Variant, AffineMap, dict[str, Any]]]:
    """Each map, and what its manifest says of it."""
    low = [variant for variant in which if variant.rank is not None]
    for variant in which:
        if variant.family == "classifiers":
            yield variant, from_classifiers(*_labels(C_S), *_labels(C_T)), {}
        elif variant.rank is None:
            moments = reduce(add, parts[: variant.parts])
            described: dict[str, Any] = {"training_rows": moments.n}
            if variant.family == "orthogonal":
                yield variant, orthogonal(moments), described
            else:
                ridge = ridges(variant)
                yield variant, least_squares(moments, ridge), described | {"ridge": ridge}
    if low:  # all ranks from one decomposition
        moments, ridge = reduce(add, parts), ridges(low[0])
        maps = low_rank(moments, ridge, [variant.rank for variant in low if variant.rank])
        for variant, map_ in zip(low, maps.values(), strict=True):
            yield variant, map_, {"training_rows": moments.n, "ridge": ridge}
