"""Closed-form maps: sums over the training features in one distributed pass, then a task for each pair of networks."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

import numpy as np
import ray

from lib import chunks, storage
from lib import experiment as settings
from lib.chunks import Chunk
from lib.closed_forms import choose_ridge, from_classifiers, least_squares, low_rank, orthogonal
from lib.maps import AffineMap
from lib.moments import JointMoments, Moments
from lib.networks import Classifier
from lib.variants import PARTS, Variant, parts_of, stem

Made = dict[Variant, dict[str, Any]]


def sum_moments(features: str, networks: list[str]) -> list[ray.ObjectRef]:
    """JointMoments of each of the PARTS of the training rows, in the object store."""
    work = chunks.chunks(features, networks)
    tasks = min(len(work), max(1, int(ray.cluster_resources().get("CPU", 1))))
    shares = [sum_chunks.remote(work[task::tasks], networks) for task in range(tasks)]
    return [add_up.remote(*part) for part in zip(*shares, strict=True)]


@ray.remote(num_cpus=1, num_returns=len(PARTS))
def sum_chunks(work: list[Chunk], networks: list[str]) -> list[JointMoments]:
    """One worker's share of the pass: a chunk of rows at a time."""
    sums: list[JointMoments | None] = [None] * len(PARTS)
    for chunk in work:
        rows = chunks.read(chunk)
        part = parts_of(rows["image_id"].to_pylist())
        vectors = {network: chunks.vectors(rows, network) for network in networks}
        for place in range(len(PARTS)):
            moments = JointMoments.of({network: F[part == place] for network, F in vectors.items()})
            before = sums[place]
            sums[place] = moments if before is None else before + moments
    return [moments for moments in sums if moments is not None]


@ray.remote(num_cpus=1)
def add_up(*shares: JointMoments) -> JointMoments:
    return reduce(add, shares)


@ray.remote(num_cpus=1)
def fit_pair(
    options: settings.Fit, folder: str, source: str, target: str, which: list[Variant], moments: list[ray.ObjectRef]
) -> Made:
    """Fit and save these maps of one pair; what their manifests say of each."""
    parts = [part.pair(source, target) for part in ray.get(moments)]
    made: Made = {}
    ridges: dict[float, float] = {}
    for variant in which:
        if variant.family == "classifiers":
            C_S, C_T = (
                Classifier.load(storage.join(folder, "classifiers", f"{name}.safetensors")) for name in (source, target)
            )
            map_ = from_classifiers(*_without_background(C_S), *_without_background(C_T))
            made[variant] = {}
        else:
            map_, made[variant] = _from_sums(variant, parts, ridges)
        map_.save(storage.join(folder, "maps", f"{stem(source, target, variant, options)}.safetensors"))
    return made


def _without_background(classifier: Classifier) -> tuple[np.ndarray, np.ndarray]:
    return classifier.weight[classifier.offset :].numpy(), classifier.bias[classifier.offset :].numpy()


def _from_sums(variant: Variant, parts: list[Moments], ridges: dict[float, float]) -> tuple[AffineMap, dict[str, Any]]:
    """A map from the part of the rows that it is to be made from; `ridges` keeps what was chosen for each share."""
    mine = parts[: variant.parts]
    moments = reduce(add, mine)
    if variant.family == "orthogonal":
        return orthogonal(moments), {"training_rows": moments.n}
    if variant.share not in ridges:  # two folds of about equal size: the parts double
        ridges[variant.share], _ = choose_ridge([reduce(add, mine[:-1]), mine[-1]])
    ridge = ridges[variant.share]
    described = {"training_rows": moments.n, "ridge": ridge}
    if variant.rank is not None:
        return low_rank(moments, ridge, [variant.rank])[variant.rank], described
    return least_squares(moments, ridge), described
