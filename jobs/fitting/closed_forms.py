"""Closed-form maps on a cluster: a task for each source and a block of its targets, as many as its memory holds.

A task reads the training rows once, sums, and fits the maps. Nothing but what manifests say goes through Ray.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
import ray

from jobs.cluster.capacity import Capacity
from jobs.fitting.memory import FILL, memory_of_a_fit
from lib.experiment.layout import Layout
from lib.experiment.settings import FitSettings
from lib.experiment.variants import PARTS, MapKey, assign_parts, by_source
from lib.features.chunks import SUMMED_ROWS, Chunk, read_chunk, split_into_chunks
from lib.features.reading import read_features
from lib.features.tables import FeatureTables
from lib.maps.classifier_maps import from_classifiers
from lib.maps.closed_forms import ClosedForms, label_rows
from lib.maps.moments import SourceMoments
from lib.maps.row_space import row_space
from lib.networks.classifiers import Classifier
from lib.storage.columns import column_vectors
from lib.storage.manifests import Artifact

BASES = 2 * 17  # matrices of a source besides its sums: its bases, and held-out sums in them
SOURCES = 16  # whose classifiers are joined with a target's at once


def start_closed_forms(
    settings: FitSettings, files: Layout, tables: FeatureTables, artifacts: Mapping[MapKey, Artifact]
) -> list[ray.ObjectRef]:
    """Start the tasks that fit all these maps and write them with their manifests. Return what to wait for."""
    tasks = max(1, int(Capacity.now().cpus // settings.cpus))
    room = FILL * ray.get(memory_of_a_fit.options(num_cpus=settings.cpus).remote(settings.cpus, tasks))
    summed = [key for key in artifacts if key.variant.needs_sums]
    started = []
    for block in blocks_of(summed, tables, room):
        mine = {key: artifacts[key] for key in block}
        started.append(fit_block.options(num_cpus=settings.cpus).remote(settings.cpus, files, tables, mine))
    others = sorted((key for key in artifacts if not key.variant.needs_sums), key=lambda key: key.target)
    for _, alike in groupby(others, lambda key: key.target):
        keys = list(alike)
        for first in range(0, len(keys), SOURCES):
            mine = {key: artifacts[key] for key in keys[first : first + SOURCES]}
            started.append(join_classifiers.options(num_cpus=settings.cpus).remote(settings.cpus, files, mine))
    return started


def blocks_of(keys: Sequence[MapKey], tables: FeatureTables, room: float) -> Iterator[list[MapKey]]:
    """Yield blocks of maps of one source: all maps of as many targets as fit in `room` bytes, of one at least."""
    for source, targets in by_source(keys).items():
        sizes = tables.sizes([source, *(maps[0].target for maps in targets)])
        d_A = min(sizes[source], tables.rows(source))
        block: list[MapKey] = []
        taken = own = 8.0 * d_A * d_A * (len(PARTS) + BASES)
        for maps in targets:
            more = 8.0 * d_A * sizes[maps[0].target] * (len(PARTS) + 4)  # and what the maps of one pair take
            if block and taken + more > room:
                yield block
                block, taken = [], own
            block, taken = block + maps, taken + more
        yield block


@ray.remote
def fit_block(cpus: int, files: Layout, tables: FeatureTables, artifacts: Mapping[MapKey, Artifact]) -> None:
    """Fit maps of one source from sums over the rows, and write them with their manifests."""
    from lib.networks.devices import compute_on_cpu  # imported here, since the driver computes nothing

    compute_on_cpu(cpus)
    source = next(iter(artifacts)).source
    targets = list(dict.fromkeys(key.target for key in artifacts))
    forms = sum_rows(tables, source, targets)
    for target in targets:
        wanted = [key.variant for key in artifacts if key.target == target]
        for variant, map_, described in forms.maps(target, wanted, Classifier.load(files.classifier(target))):
            key = MapKey(source, target, variant)
            map_.save(files.map(key.name))
            artifacts[key].finish(1, **described)


@ray.remote
def join_classifiers(cpus: int, files: Layout, artifacts: Mapping[MapKey, Artifact]) -> None:
    """Make maps to one target from the classifiers alone, and write them with their manifests."""
    from lib.networks.devices import compute_on_cpu

    compute_on_cpu(cpus)
    target = label_rows(Classifier.load(files.classifier(next(iter(artifacts)).target)))
    sources = [label_rows(Classifier.load(files.classifier(key.source))) for key in artifacts]
    for (key, artifact), map_ in zip(artifacts.items(), from_classifiers(sources, target), strict=True):
        map_.save(files.map(key.name))
        artifact.finish(1)


def sum_rows(tables: FeatureTables, source: str, targets: list[str]) -> ClosedForms:
    """Sum over all training rows of a source and its targets. Fewer rows than source features are compressed."""
    rows, size = tables.rows(source), tables.sizes([source])[source]
    space = row_space(read_features(tables, [source]).vectors[source]) if 0 < rows < size else None
    total: list[SourceMoments] | None = None
    for chunk in split_into_chunks(tables, [source, *targets], SUMMED_ROWS):
        sums = sums_of_parts(chunk, source, targets, space)
        total = sums if total is None else [before + found for before, found in zip(total, sums, strict=True)]
    if total is None:
        raise ValueError(f"expected training rows of {source!r}, there are none")
    return ClosedForms(total, space)


def sums_of_parts(chunk: Chunk, source: str, targets: list[str], space: np.ndarray | None) -> list[SourceMoments]:
    """Return the sums over a chunk's rows, those of each of the PARTS by themselves."""
    rows = read_chunk(chunk)
    part = assign_parts(rows["image_id"].to_pylist())
    X = column_vectors(rows, source)
    if space is not None:
        X = X.astype(np.float64) @ space
    vectors = {network: column_vectors(rows, network) for network in targets}
    return [
        SourceMoments.of(X[part == place], {network: F[part == place] for network, F in vectors.items()})
        for place in range(len(PARTS))
    ]
