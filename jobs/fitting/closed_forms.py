"""What a task of closed forms does: it reads the training rows of a source and some targets once, sums, fits the maps,
and judges those that are points of curves. Nothing but what manifests say goes through Ray.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from jobs.fitting.curves import FittedCurves, finish_curves, judge_curves, rank_images
from jobs.fitting.points import PointCounter, points_of
from jobs.fitting.works import PairWork
from lib.experiment.layout import Layout
from lib.experiment.variants import FEW_ROWS, PARTS, MapKey, assign_parts, part_edges
from lib.features.chunks import read_chunk, split_into_chunks
from lib.features.reading import read_features
from lib.features.tables import FeatureTables
from lib.maps.class_sums import ClassSums
from lib.maps.classifier_maps import from_classifiers
from lib.maps.closed_forms import ClosedForms, label_rows
from lib.maps.few_rows import FewRows
from lib.maps.moments import SourceMoments, absorb_parts, float64_rows
from lib.maps.row_space import row_space
from lib.networks.classifiers import load_classifier, needed_classifier
from lib.networks.devices import best_device
from lib.storage.columns import column_vectors
from lib.storage.manifests import Artifact

CHUNK_ROWS = 4096  # of a chunk whose products are summed part by part


def fit_block(
    cpus: int, files: Layout, train: FeatureTables, val: FeatureTables, block: list[PairWork], room: float
) -> None:
    """Fit maps of one source from sums over the rows, and write them or what they predict, with their manifests.

    Evaluation features may fill `room` bytes.
    """
    torch.set_num_threads(cpus)
    source = block[0].source
    device = best_device()
    forms = sum_rows(train, source, [pair.target for pair in block], device)
    fitted = []
    for pair in block:
        curves = [FittedCurves(found, {}, {}) for found in pair.curves]
        C_T = load_classifier(files, pair.target)
        for variant, map_, described in forms.maps(pair.target, pair.variants, C_T):
            if variant in pair.maps:
                uri = files.map(MapKey(source, pair.target, variant).name)
                origin = train.origin(source, pair.target, variant.name)
                pair.maps[variant].finish(1, records={uri: map_.multiplied().save(uri, origin)}, **described)
            else:
                curves[0].maps[variant] = map_.to(torch.device("cpu"))
                curves[0].described[variant] = described
        for found in curves:
            found.keep(files, train)
        fitted += curves
    wanted = [found for pair in block for found in pair.curves]
    points = PointCounter(files, val, forms, room, wanted[0].seed if wanted else 0)
    points.count(points_of(forms, wanted, files))
    rank_images(val, fitted, device)
    finish_curves(fitted, judge_curves(files, val, fitted, forms, room), points.found)


def join_classifiers(cpus: int, files: Layout, train: FeatureTables, artifacts: Mapping[MapKey, Artifact]) -> None:
    """Make maps to one target from the classifiers alone, and write them with their manifests."""
    torch.set_num_threads(cpus)
    target = label_rows(needed_classifier(files, next(iter(artifacts)).target))
    sources = [label_rows(needed_classifier(files, key.source)) for key in artifacts]
    maps = from_classifiers(sources, target, best_device())
    for (key, artifact), map_ in zip(artifacts.items(), maps, strict=True):
        uri = files.map(key.name)
        artifact.finish(1, records={uri: map_.save(uri, train.origin(*key.pair, key.variant.name))})


def sum_rows(tables: FeatureTables, source: str, targets: list[str], device: torch.device) -> ClosedForms:
    """Sum over all training rows of a source and its targets. Fewer rows than a network's features are compressed."""
    networks = list(dict.fromkeys([source, *targets]))
    edges = None
    if 0 < tables.rows(source) <= FEW_ROWS:
        edges = part_edges(read_features(tables, [source]).image_id.tolist())
    spaces = {
        network: row_space(read_features(tables, [network]).vectors[network], device)
        for network, size in tables.sizes(networks).items()
        if 0 < tables.rows(network) < size
    }
    total: list[SourceMoments] = []
    few: list[tuple[torch.Tensor, ...]] = []  # rows themselves, where they are fewer than the source's features
    classes: ClassSums | None = None
    for chunk in split_into_chunks(tables, networks, CHUNK_ROWS):
        images = read_chunk(chunk)
        X, *others = (coordinates(images, network, spaces, device) for network in [source, *targets])
        vectors = dict(zip(targets, others, strict=True))
        by_class = sums_by_class(images, X, vectors)
        classes = by_class if classes is None else classes + by_class
        part = torch.from_numpy(assign_parts(images["image_id"].to_pylist(), edges)).to(device)
        if source in spaces:
            few.append((part, X, *others))
            continue
        absorb_parts(total, sums_of_parts(part, X, vectors, device))
    if few:
        part, X, *others = (torch.cat(pieces) for pieces in zip(*few, strict=True))
        rows = FewRows.of(X, dict(zip(targets, others, strict=True)), part, len(spaces[source]))
        return ClosedForms(source, rows, spaces, classes)
    if not total:
        raise ValueError(f"expected training rows of {source!r}, there are none")
    return ClosedForms(source, total, spaces, classes)


def coordinates(
    images: pa.Table, network: str, spaces: Mapping[str, torch.Tensor], device: torch.device
) -> torch.Tensor:
    """Return a network's rows in float64, or their coordinates in its space."""
    F = float64_rows(column_vectors(images, network), device)
    return F @ spaces[network].double() if network in spaces else F


def sums_by_class(images: pa.Table, X: torch.Tensor, vectors: Mapping[str, torch.Tensor]) -> ClassSums:
    """Return the sums by class over the labelled rows of a chunk."""
    labelled = torch.from_numpy(np.flatnonzero(pc.is_valid(images["label"]).to_numpy())).to(X.device)
    label = torch.tensor(images["label"].drop_null().to_numpy(), dtype=torch.int64, device=X.device)
    return ClassSums.of(X[labelled], {network: F[labelled] for network, F in vectors.items()}, label)


def sums_of_parts(
    part: torch.Tensor, X: torch.Tensor, vectors: Mapping[str, torch.Tensor], device: torch.device
) -> Iterator[SourceMoments]:
    """Yield the sums over a chunk's rows, those of each of the PARTS by themselves; `part` (n,) is each row's."""
    for place in range(len(PARTS)):
        inside = part == place
        yield SourceMoments.of(X[inside], {network: F[inside] for network, F in vectors.items()}, device)
