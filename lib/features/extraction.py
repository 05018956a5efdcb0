"""From a batch of decoded pixels to a batch of features: the unit of work of the extraction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from lib.experiment.network_settings import NetworkSettings
from lib.experiment.settings import ExtractSettings
from lib.features.schemas import feature_schema
from lib.images.batches import IDENTITY, PASSED_ON, REASON, distinct_geometries, pixels_of
from lib.images.geometry import Geometry
from lib.networks.devices import best_device
from lib.networks.memory import keep_freed_memory
from lib.networks.network import Network
from lib.storage.columns import vector_column

CPU_BATCH = 16  # images that a thread computes at once, at most: more take memory and save no time


class ExtractFeatures:
    """F of several networks on one device: the unit of work of the extraction.

    `device` None is the GPU if torch can use one, else the CPU. `geometries` say how images were decoded for each
    network (lib.images.batches); None means the networks' own geometries. Raises NetworkError while loading.

    On a CPU each thread computes batches of its own. Threads that share a batch wait for each other after each
    operation, so that whatever takes one thread's core for a moment holds up all. A process started with
    lib.networks.memory.ONE_HEAP keeps these threads' memory.
    """

    def __init__(
        self,
        networks: dict[str, NetworkSettings],
        settings: ExtractSettings,
        device: str | None = None,
        geometries: dict[str, Geometry] | None = None,
    ) -> None:
        self.device = device or best_device().type
        self.map: Callable[..., Iterator[Any]] = map
        self.batch = settings.batch_size
        if self.device == "cpu":
            keep_freed_memory()
            pool = ThreadPoolExecutor(settings.threads, initializer=torch.set_num_threads, initargs=(1,))
            self.map = pool.map
            self.batch = min(CPU_BATCH, -(-settings.batch_size // settings.threads))
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = settings.tf32
        self.settings = settings
        self.networks = {name: Network(name, network, self.device) for name, network in networks.items()}
        self.geometries = geometries or {name: network.geometry for name, network in self.networks.items()}
        self.computes: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}
        for name, network in self.networks.items():
            network.model.to(memory_format=torch.channels_last)  # as the images are: else convolutions turn the weights
            self.computes[name] = torch.compile(network.features) if settings.compile else network.features
        self.schema = feature_schema(
            {name: network.feature_size for name, network in self.networks.items()}, settings.dtype
        )

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return a batch of pixels as a batch of features. A rejected image keeps its row; its features are null."""
        reasons = np.asarray(batch[REASON].to_pylist(), object)
        distinct = distinct_geometries(self.geometries)
        decoded = [pixels_of(batch, k, geometry) for k, geometry in enumerate(distinct)]
        pixels = {name: decoded[distinct.index(self.geometries[name])] for name in self.networks}
        features = batch.select([name for name in batch.column_names if name in IDENTITY])
        found = {name: self.pieces(name, pixels[name]) for name in self.networks}  # on a CPU all begin at once
        stored = {}
        for name, pieces in found.items():
            vectors = np.concatenate([*pieces])
            with np.errstate(over="ignore"):  # what overflows is counted
                stored[name] = vectors.astype(self.settings.dtype)
            reject_not_finite(reasons, name, vectors, stored[name])
        missing = reasons != np.array(None)
        for name, vectors in stored.items():
            features = features.append_column(self.schema.field(name), vector_column(vectors, missing))
        features = features.append_column(REASON, pa.array(reasons, pa.string()))
        for name in PASSED_ON:
            if name in batch.column_names:
                features = features.append_column(name, batch[name])
        return features

    def pieces(self, name: str, pixels: np.ndarray) -> Iterator[np.ndarray]:
        """Return the features of the network `name`, (n, d) float32 in pieces, for pixels (n, h, w, 3)."""
        return in_full_batches(partial(self.vectors, name), pixels, self.batch, self.map)

    def vectors(self, name: str, pixels: np.ndarray) -> np.ndarray:
        """Return the features of the network `name`, (n, d) float32, computed in one batch, for pixels (n, h, w, 3)."""
        return self.on_device(name, self.networks[name].normalise(pixels)).cpu().numpy()

    @torch.inference_mode()
    def on_device(self, name: str, images: torch.Tensor) -> torch.Tensor:
        """Return the features (n, d) of normalised images (n, 3, h, w); both lie on the device."""
        precision = getattr(torch, self.settings.precision)
        faster = precision != torch.float32
        with torch.autocast(self.device, precision) if faster else nullcontext():
            return self.computes[name](images).float()


def reject_not_finite(reasons: np.ndarray, network: str, vectors: np.ndarray, stored: np.ndarray) -> None:
    """Write a reason for each image whose features hold NaN or infinity, unless it has a reason already.

    `reasons` (n,) is changed in place. `vectors` (n, d) are as computed, `stored` as the table's number type has them.
    """
    wrong = ~np.isfinite(stored)
    for row in np.flatnonzero(wrong.any(1)):
        if reasons[row] is None:
            numbers = f"network {network!r}, {int(wrong[row].sum())} of {wrong.shape[1]} numbers"
            if np.isfinite(vectors[row]).all():
                largest = float(np.abs(vectors[row]).max())
                reasons[row] = (
                    f"overflow: {numbers}, up to {largest:.6g}, are beyond {stored.dtype}'s largest, "
                    f'{np.finfo(stored.dtype).max:.6g}; set extract.dtype = "float32"'
                )
            else:
                reasons[row] = f"not finite: {numbers}"


def in_full_batches(
    compute: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray,
    size: int,
    map_: Callable[..., Iterator[Any]] = map,
) -> Iterator[np.ndarray]:
    """Compute over `rows` in batches of exactly `size`, and return the results in pieces. Zeros fill the last batch.

    Matrix products round differently for different batch sizes. With one size an image's features do not depend on
    the images that happen to travel with it, so that a resumed run equals an undisturbed one. `map_` applies a function
    to all batches: one after the other, or several at once.
    """

    def piece(start: int) -> np.ndarray:
        batch = rows[start : start + size]
        full = np.zeros((size, *rows.shape[1:]), rows.dtype)
        full[: len(batch)] = batch
        return compute(full)[: len(batch)]

    return map_(piece, range(0, len(rows), size))
