"""How well mapped features meet the target's own, on a sample of images: a task for each block of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, permutations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import torch
from torch.nn import functional

from jobs.cluster.capacity import Capacity
from jobs.cluster.progress import wait_for
from jobs.evaluation.blocks import Pair, blocks_of_pairs
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

SIDE = 4  # networks by networks of one task, which holds the samples of both


@dataclass(frozen=True)
class MappedFeatures:
    """What is measured of each pair's main map."""

    fits: Mapping[Pair, FeatureFit]
    directions: Mapping[Pair, pa.Table]  # DIRECTIONS
    retrieval: Mapping[Pair, dict[str, Retrieval]]  # by variant, among the images that a learning curve's maps rank


def measure_mapped(
    files: Layout, tables: FeatureTables, networks: Sequence[str], variants: Sequence[Variant], rows: int
) -> MappedFeatures:
    """Measure every pair's map of the first variant on `rows` evaluation images, the same for all pairs, and what the
    queries of all these variants find.
    """
    resources = {"num_cpus": 1, "num_gpus": 1 if Capacity.now().gpus else 0}
    pairs = list(permutations(networks, 2))
    tasks = [
        measure_block.options(**resources).remote(files, tables, block, variants, rows)
        for block in blocks_of_pairs(networks, set(pairs), SIDE)
    ]
    by_pair: dict[Pair, MappedFeatures] = {}
    for measured in wait_for("evaluate", "blocks of mapped features", tasks):
        by_pair |= dict.fromkeys(measured.fits, measured)
    return MappedFeatures(
        {pair: by_pair[pair].fits[pair] for pair in pairs},
        {pair: by_pair[pair].directions[pair] for pair in pairs},
        {pair: by_pair[pair].retrieval[pair] for pair in pairs},
    )


@ray.remote
def measure_block(
    files: Layout, tables: FeatureTables, pairs: list[Pair], variants: Sequence[Variant], rows: int
) -> MappedFeatures:
    """Return what is measured of these pairs' maps."""
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
    return MappedFeatures(fits, bands, found)


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


def retrieval_rows(
    mapped: MappedFeatures, described: Mapping[Pair, Mapping[str, Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Return the rows of retrieval.parquet, each pair's maps of all training rows behind those of few.

    `described` has for each pair what manifests say of its maps by variant, those of a learning curve among them.
    """
    rows = []
    for pair, found in mapped.retrieval.items():
        known = {name: said["retrieval"] for name, said in described[pair].items() if "retrieval" in said}
        for name, theirs in [*known.items(), *found.items()]:
            which = {"source": pair[0], "target": pair[1], "variant": name}
            rows.append({**which, "training_rows": described[pair].get(name, {}).get("training_rows"), **theirs})
    return rows
