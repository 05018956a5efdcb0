"""What a task of jobs.probe does: it fits one network's classifier to labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from lib.errors import RunError
from lib.experiment.layout import Layout
from lib.experiment.settings import ProbeSettings
from lib.experiment.variants import FEW_ROWS, PARTS, assign_parts, part_edges
from lib.features.chunks import SUMMED_ROWS, read_chunk, split_into_chunks
from lib.features.reading import Features, read_features
from lib.features.tables import FeatureTables
from lib.maps.moments import SourceMoments, absorb_parts, float64_rows
from lib.maps.probes import label_moments, logistic_probe, ridge_probe
from lib.maps.row_space import row_space
from lib.networks.devices import best_device, compute_on_cpu
from lib.storage.columns import column_vectors
from lib.storage.files import write_bytes
from lib.storage.records import FileRecord


def fit_probe(
    cpus: int, files: Layout, tables: FeatureTables, network: str, classes: int, settings: ProbeSettings
) -> tuple[dict[str, Any], FileRecord]:
    """Fit one network's classifier, write it, and return what its manifest says of it, and the file's record.

    Raises RunError if too few images have labels.
    """
    compute_on_cpu(cpus)
    device = best_device()
    few = 0 < tables.rows(network) <= FEW_ROWS
    whole = labelled_features(tables, network) if few or settings.kind == "logistic" else None
    edges = None
    if few and whole is not None:
        if len(whole.image_id) < len(PARTS):
            raise RunError(
                f"images.train: {len(whole.image_id)} images have labels, a probe needs {len(PARTS)} or more"
            )
        edges = part_edges(whole.image_id.tolist())
    if settings.kind == "logistic" and whole is not None:
        F = float64_rows(whole.vectors[network], device)
        part, label = parts_and_labels(whole.image_id.tolist(), whole.label.to_numpy(), edges, device)
        classifier, described = logistic_probe(F, label, part, classes, settings.iterations)
    else:
        spaces = {}
        if whole is not None and len(whole.image_id) < tables.sizes([network])[network]:
            spaces = {"features": row_space(whole.vectors[network], device)}
        classifier, described = ridge_probe(sum_labelled(tables, network, classes, spaces, edges, device), spaces)
    data = classifier.to_bytes()
    write_bytes(files.classifier(network), data)
    return described, FileRecord.of(data)


def parts_and_labels(
    image_ids: list[str], labels: np.ndarray, edges: np.ndarray | None, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the part and the label of each image, (n,) both, on a device."""
    part = torch.from_numpy(assign_parts(image_ids, edges)).to(device)
    return part, torch.from_numpy(labels.astype(np.int64)).to(device)


def labelled_features(tables: FeatureTables, network: str) -> Features:
    """Return the features of all training images that have a label."""
    found = read_features(tables, [network])
    known = np.asarray(pc.is_valid(found.label))
    return Features(found.image_id[known], found.label.drop_null(), {network: found.vectors[network][known]})


def sum_labelled(
    tables: FeatureTables,
    network: str,
    classes: int,
    spaces: dict[str, torch.Tensor],
    edges: np.ndarray | None,
    device: torch.device,
) -> list[SourceMoments]:
    """Return the sums over the labelled rows of each of the PARTS. Raises RunError if no row has a label."""
    total: list[SourceMoments] = []
    for chunk in split_into_chunks(tables, [network], SUMMED_ROWS):
        rows = read_chunk(chunk)
        rows = rows.filter(pc.is_valid(rows["label"]))
        absorb_parts(total, sums_of_parts(rows, network, classes, spaces, edges, device))
    if not sum(part.n for part in total):
        raise RunError("images.train: no image has a label, to which a probe could be fitted")
    return total


def sums_of_parts(
    rows: pa.Table,
    network: str,
    classes: int,
    spaces: dict[str, torch.Tensor],
    edges: np.ndarray | None,
    device: torch.device,
) -> list[SourceMoments]:
    """Return the sums over some rows, those of each of the PARTS by themselves."""
    F = float64_rows(column_vectors(rows, network), device)
    F = F @ spaces["features"].double() if spaces else F
    part, label = parts_and_labels(rows["image_id"].to_pylist(), rows["label"].to_numpy(), edges, device)
    return [label_moments(F[part == place], label[part == place], classes, device) for place in range(len(PARTS))]
