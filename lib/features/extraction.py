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

from lib.errors import RunError
from lib.experiment.images import MAX_PIXELS
from lib.experiment.network_settings import NetworkSettings
from lib.experiment.settings import ExtractSettings
from lib.features.schemas import feature_schema
from lib.images.batches import IDENTITY, PASSED_ON, REASON, distinct_geometries, encoded_images, pixels_of
from lib.images.device_decoding import decode_on_device
from lib.images.geometry import Geometry
from lib.networks.devices import best_device
from lib.networks.fusing import fuse_batch_norms
from lib.networks.memory import keep_freed_memory
from lib.networks.network import Network
from lib.storage.columns import vector_column

DEVICE_ASSERT = "device-side assert triggered"
CPU_BATCH = 16  # images that a thread computes at once, at most: more take memory and save no time


class ExtractFeatures:
    """F of several networks on one device: the unit of work of the extraction.

    `device` None is the GPU if torch can use one, else the CPU. `geometries` say how images were decoded for each
    network (lib.images.batches); None means the networks' own geometries. Images that are decoded here may have
    `max_pixels`. Raises NetworkError while loading.

    On a CPU each thread computes batches of its own. Threads that share a batch wait for each other after each
    operation, so that whatever takes one thread's core for a moment holds up all. A process started with
    lib.networks.memory.ONE_HEAP keeps these threads' memory. Batch norms are taken into the convolutions before them
    there (lib.networks.fusing).
    """

    def __init__(
        self,
        networks: dict[str, NetworkSettings],
        settings: ExtractSettings,
        device: str | None = None,
        geometries: dict[str, Geometry] | None = None,
        max_pixels: int = MAX_PIXELS,
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
        self.settings, self.max_pixels = settings, max_pixels
        self.networks = {name: Network(name, network, self.device) for name, network in networks.items()}
        self.geometries = geometries or {name: network.geometry for name, network in self.networks.items()}
        self.computes: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}
        for name, network in self.networks.items():
            if self.device == "cpu":
                fuse_batch_norms(network)
            network.model.to(memory_format=torch.channels_last)  # as the images are: else convolutions turn the weights
            self.computes[name] = torch.compile(network.features) if settings.compile else network.features
        self.schema = feature_schema(
            {name: network.feature_size for name, network in self.networks.items()}, settings.dtype
        )

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return a batch of pixels as a batch of features. A rejected image keeps its row; its features are null."""
        reasons = np.asarray(batch[REASON].to_pylist(), object)
        distinct = distinct_geometries(self.geometries)
        decoded = [self.pixels(batch, k, geometry, reasons) for k, geometry in enumerate(distinct)]
        pixels = {name: decoded[distinct.index(self.geometries[name])] for name in self.networks}
        features = batch.select([name for name in batch.column_names if name in IDENTITY])
        found = {name: self.pieces(name, pixels[name]) for name in self.networks}  # on a CPU all begin at once
        stored = {}
        for name, pieces in found.items():
            vectors = self.gathered(name, pieces, pixels[name])
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

    def pixels(self, batch: pa.Table, k: int, geometry: Geometry, reasons: np.ndarray) -> np.ndarray:
        """Return a batch's pixels for the k-th geometry, (n, h, w, 3), decoded here if they are not yet.

        `reasons` (n,) is then changed in place where an image cannot be read.
        """
        if not geometry.on_device:
            return pixels_of(batch, k, geometry)
        pixels, found = decode_on_device(encoded_images(batch), geometry, self.device, self.max_pixels)
        for row, reason in enumerate(found):
            if reason is not None:
                reasons[row] = reason
        return pixels

    def rejecting(self, batch: pa.Table, reason: str) -> pa.Table:
        """Return a batch of features, all null, with this reason for each image: nothing is computed."""
        features = batch.select([name for name in batch.column_names if name in IDENTITY])
        for name in self.networks:
            field = self.schema.field(name)
            features = features.append_column(field, pa.nulls(len(batch), field.type))
        features = features.append_column(REASON, pa.array([reason] * len(batch), pa.string()))
        for name in PASSED_ON:
            if name in batch.column_names:
                features = features.append_column(name, batch[name])
        return features

    def gathered(self, name: str, pieces: Iterator[np.ndarray], pixels: np.ndarray) -> np.ndarray:
        """Return all pieces of the features of the network `name`, (n, d) float32.

        If they take more memory than the GPU has, batches are half as large from then on, which may round otherwise.
        Raises RunError if not even one image fits, and if the GPU fails.
        """
        while True:
            try:
                return np.concatenate([*pieces])
            except torch.OutOfMemoryError as error:
                if self.batch == 1:
                    raise RunError(
                        f"network {name!r}: one image takes more memory than the GPU has left: extract fewer networks "
                        "at once, or use a larger GPU"
                    ) from error
                self.batch //= 2
                print(f"network {name!r}: out of the GPU's memory, batches have {self.batch} images from now on")
                torch.cuda.empty_cache()
                pieces = self.pieces(name, pixels)
            except RuntimeError as error:
                if DEVICE_ASSERT not in str(error):
                    raise
                raise RunError(
                    f"network {name!r}: its computation failed on the GPU ({DEVICE_ASSERT}), whose process is of no "
                    "use from then on. The same images would fail again; with CUDA_LAUNCH_BLOCKING=1 the lines above "
                    "name the operation"
                ) from error

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
