"""From a batch of decoded pixels to a batch of features: the unit of work of the extraction."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from lib import experiment, tables
from lib.devices import best_device, compute_on_cpu
from lib.listing import PASSED_ON
from lib.networks import Network

CPU_BATCH = 16  # images in a network at once on a CPU, at the most: more take memory, and no less time


class ExtractFeatures:
    """F of several networks on one device, fed with the pixels that lib.images.DecodeImages makes.

    `geometries` gives for each network the number k of its column `pixels_k`. Raises NetworkError while loading.
    """

    def __init__(
        self,
        networks: dict[str, experiment.Network],
        geometries: dict[str, int],
        settings: experiment.Extract,
        device: str | None = None,
    ) -> None:
        self.device = device or best_device().type
        if self.device == "cpu":
            compute_on_cpu(settings.threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = settings.tf32
        self.settings = settings
        self.batch = settings.batch_size if self.device != "cpu" else min(settings.batch_size, CPU_BATCH)
        self.geometries = geometries
        self.networks = {name: Network(name, network, self.device) for name, network in networks.items()}
        self.computes: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}
        for name, network in self.networks.items():
            network.model.to(memory_format=torch.channels_last)  # as the images are: else convolutions turn the weights
            self.computes[name] = torch.compile(network.features) if settings.compile else network.features
        self.schema = tables.feature_schema(
            {name: network.feature_size for name, network in self.networks.items()}, settings.dtype
        )

    def __call__(self, batch: dict[str, np.ndarray]) -> pa.Table:
        """{"image_id", "label", "reason", "pixels_k" (n, h, w, 3)} -> feature schema with a `reason` column.

        A rejected image (reason not empty) keeps its row, its features are null. PASSED_ON columns go through.
        """
        rejected = np.asarray([bool(reason) for reason in batch["reason"]])
        columns: list[Any] = [
            pa.array(list(batch["image_id"]), pa.string()),
            pa.array(batch["label"], pa.int32(), mask=np.asarray(batch["label"]) < 0),
        ]
        for name in self.networks:
            pixels = np.asarray(batch[f"pixels_{self.geometries[name]}"])
            vectors = in_full_batches(partial(self.vectors, name), pixels, self.batch)
            columns.append(vector_column(vectors.astype(self.settings.dtype), rejected))
        schema = self.schema
        for name in [name for name in ("reason", *PASSED_ON) if name in batch]:
            columns.append(pa.array(batch[name].tolist()))
            schema = schema.append(pa.field(name, columns[-1].type))
        return pa.table(columns, schema=schema)

    def vectors(self, name: str, pixels: np.ndarray) -> np.ndarray:
        """(n, h, w, 3) pixels -> (n, d) float32 features of the network `name`, in one batch."""
        return self.on_device(name, self.networks[name].normalise(pixels)).cpu().numpy()

    @torch.inference_mode()
    def on_device(self, name: str, images: torch.Tensor) -> torch.Tensor:
        """The same from normalised images (n, 3, h, w) on the device, where the features stay."""
        precision = getattr(torch, self.settings.precision)
        faster = precision != torch.float32
        with torch.autocast(self.device, precision) if faster else nullcontext():
            return self.computes[name](images).float()


def in_full_batches(compute: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, size: int) -> np.ndarray:
    """`compute` over `rows` in batches of exactly `size`, the last one filled up with zeros.

    Matrix products round differently for different batch sizes; with one size an image's features don't depend on
    which images happened to travel with it, so that a resumed run equals an undisturbed one.
    """
    results = []
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        full = np.zeros((size, *rows.shape[1:]), rows.dtype)
        full[: len(batch)] = batch
        results.append(compute(full)[: len(batch)])
    return np.concatenate(results)


def vector_column(vectors: np.ndarray, missing: np.ndarray | None = None) -> pa.FixedSizeListArray:
    """(n, d) numbers -> fixed_size_list<number>[d], null where `missing` (n,) says so."""
    mask = None if missing is None or not missing.any() else pa.array(missing)
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1], mask=mask)
