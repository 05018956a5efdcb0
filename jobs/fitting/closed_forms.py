"""Closed-form maps on a cluster: sums over the training features in one pass, then a task for each pair of networks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import ray

from jobs.cluster.sums import distributed_sum
from lib.experiment.layout import Layout
from lib.experiment.variants import PARTS, MapKey, assign_parts
from lib.features.chunks import SUMMED_ROWS, Chunk, read_chunk, split_into_chunks
from lib.features.tables import FeatureTables
from lib.maps.closed_forms import closed_form_maps
from lib.maps.moments import JointMoments
from lib.networks.classifiers import Classifier
from lib.storage.columns import column_vectors


def sum_moments(tables: FeatureTables, networks: list[str]) -> list[ray.ObjectRef]:
    """Return the JointMoments of each of the PARTS of the training rows, in the object store."""
    chunks = split_into_chunks(tables, networks, SUMMED_ROWS)
    return distributed_sum(chunks, partial(moments_of_parts, networks=networks), len(PARTS))


def moments_of_parts(chunk: Chunk, networks: list[str]) -> list[JointMoments]:
    """Return the sums over a chunk's rows, those of each of the PARTS by themselves."""
    rows = read_chunk(chunk)
    part = assign_parts(rows["image_id"].to_pylist())
    vectors = {network: column_vectors(rows, network) for network in networks}
    return [
        JointMoments.of({network: F[part == place] for network, F in vectors.items()}) for place in range(len(PARTS))
    ]


@ray.remote(num_cpus=1)
def fit_pair(files: Layout, keys: Sequence[MapKey], moments: list[ray.ObjectRef]) -> dict[MapKey, dict[str, Any]]:
    """Fit and save these maps of one pair, and return what their manifests say of each."""
    source, target = keys[0].pair
    C_S, C_T = (Classifier.load(files.classifier(network)) for network in (source, target))
    parts = [part.pair(source, target) for part in ray.get(moments)]
    described = {}
    for variant, map_, made in closed_form_maps([key.variant for key in keys], parts, C_S, C_T):
        key = MapKey(source, target, variant)
        map_.save(files.map(key.name))
        described[key] = made
    return described
