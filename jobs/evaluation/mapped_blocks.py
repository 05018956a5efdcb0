"""What a task of jobs.evaluation.mapped_features does with its pairs: it maps images, and compares with their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.nn import functional

from jobs.evaluation.blocks import Pair
from lib.errors import TableError
from lib.evaluation.principal_directions import PrincipalDirections
from lib.evaluation.result_tables import DIRECTIONS
from lib.evaluation.results import FeatureFit, Retrieval
from lib.evaluation.retrieval import look_up, retrieval
from lib.evaluation.within_class import within_class_r2
from lib.experiment.layout import Layout
from lib.experiment.variants import CURVE_ROWS, MapKey, Variant
from lib.features.reading import Features
from lib.features.sampling import read_sample
from lib.features.tables import FeatureTables
from lib.maps.affine import AffineMap
from lib.networks.devices import best_device
from lib.storage.manifests import read_records


def measure_block(
    files: Layout, tables: FeatureTables, pairs: list[Pair], variants: Sequence[Variant], rows: int
) -> tuple[dict[Pair, FeatureFit], dict[Pair, pa.Table], dict[Pair, dict[str, Retrieval]]]:
    """Return what is measured of these pairs' maps, as jobs.evaluation.mapped_features.MappedFeatures names it."""
    device = best_device()
    samples = {network: read_sample(tables, network, rows) for network in dict.fromkeys(chain.from_iterable(pairs))}
    fits: dict[Pair, FeatureFit] = {}
    bands: dict[Pair, pa.Table] = {}
    found: dict[Pair, dict[str, Retrieval]] = {}
    for target in dict.fromkeys(target for _, target in pairs):
        own = functional.normalize(on_device(samples[target], target, device), dim=1)
        principal, near = PrincipalDirections(own), look_up(own, own).near
        few = own[:CURVE_ROWS]
        near_of_few = look_up(few, few).near
        for source in (source for source, other in pairs if other == target):
            check_same_images(samples, source, target)
            theirs = found[source, target] = {}
            for variant in variants:
                name = MapKey(source, target, variant).name
                uri = files.map(name)
                map_ = AffineMap.load(uri, read_records(files.map_manifest(name)).get(uri)).to(device)
                mapped = functional.normalize(map_(on_device(samples[source], source, device)), dim=1)
                theirs[variant.name] = retrieval(mapped[:CURVE_ROWS], few, near_of_few)
                if variant is not variants[0]:
                    continue
                fits[source, target] = {
                    **retrieval(mapped, own, near),
                    "within_class_r2": r2_of_labelled(mapped, own, samples[target].label),
                }
                rows_of_pair = [{"source": source, "target": target, **vars(band)} for band in principal.bands(mapped)]
                bands[source, target] = pa.Table.from_pylist(rows_of_pair, schema=DIRECTIONS)
    return fits, bands, found


def on_device(sample: Features, network: str, device: torch.device) -> torch.Tensor:
    """Return a network's vectors, (n, d)."""
    return torch.tensor(sample.vectors[network]).to(device)


def check_same_images(samples: Mapping[str, Features], source: str, target: str) -> None:
    """Raise TableError unless both samples are of the same images."""
    if not np.array_equal(samples[source].image_id, samples[target].image_id):
        raise TableError(f"the evaluation features of {source!r} and {target!r} are not of the same images")


def r2_of_labelled(mapped: torch.Tensor, own: torch.Tensor, label: pa.Array) -> float | None:
    """Return R^2 within classes over the images that have a label."""
    known = torch.from_numpy(np.flatnonzero(pc.is_valid(label).to_numpy(zero_copy_only=False))).to(own.device)
    labels = torch.tensor(label.drop_null().to_numpy()).to(own.device)
    return within_class_r2(mapped[known], own[known], labels)
