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

from lib.experiment.settings import ExtractSettings, NetworkSettings
from lib.features.schemas import feature_schema, vector_column
from lib.images.schemas import PASSED_ON
from lib.networks.devices import best_device
from lib.networks.memory import keep_freed_memory
from lib.networks.network import Network

CPU_BATCH = 16  # images that a thread computes at once, at the most: more take memory, and no less time


class ExtractFeatures:
    """F of several networks on one device, fed with the pixels that lib.images.batches.DecodeImages makes.

    `geometries` gives for each network the number k of its column `pixels_k`. Raises NetworkError while loading.

    On a CPU every thread computes batches of its own. Threads that share a batch wait for one another after each
    operation: whatever takes one's core for a moment then holds up all. A process started with
    lib.networks.memory.ONE_HEAP keeps these threads' memory.
    """

    def __init__(
        self,
        networks: dict[str, NetworkSettings],
        geometries: dict[str, int],
        settings: ExtractSettings,
        device: str | None = None,
    ) -> None:
        self.device = device or best_device().type
        self.each: Callable[..., Iterator[Any]] = map
        self.batch = settings.batch_size
        if self.device == "cpu":
            keep_freed_memory()
            pool = ThreadPoolExecutor(settings.threads, initializer=torch.set_num_threads, initargs=(1,))
            self.each = pool.map
            self.batch = min(CPU_BATCH, -(-settings.batch_size // settings.threads))
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = settings.tf32
        self.settings = settings
        self.geometries = geometries
        self.networks = {name: Network(name, network, self.device) for name, network in networks.items()}
        self.computes: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}
        for name, network in self.networks.items():
            network.model.to(memory_format=torch.channels_last)  # as the images are: else convolutions turn the weights
            self.computes[name] = torch.compile(network.features) if settings.compile else network.features
        self.schema = feature_schema(
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
        pixels = {name: np.asarray(batch[f"pixels_{self.geometries[name]}"]) for name in self.networks}
        found = {name: self.pieces(name, pixels[name]) for name in self.networks}  # on a CPU all begin at once
        for pieces in found.values():
            columns.append(vector_column(np.concatenate([*pieces]).astype(self.settings.dtype), rejected))
        schema = self.schema
        for name in [name for name in ("reason", *PASSED_ON) if name in batch]:
            columns.append(pa.array(batch[name].tolist()))
            schema = schema.append(pa.field(name, columns[-1].type))
        return pa.table(columns, schema=schema)

    def pieces(self, name: str, pixels: np.ndarray) -> Iterator[np.ndarray]:
        """(n, h, w, 3) pixels -> (n, d) float32 features of the network `name`, in pieces."""
        return in_full_batches(partial(self.vectors, name), pixels, self.batch, self.each)

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


def in_full_batches(
    compute: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, size: int, each: Callable[..., Iterator[Any]] = map
) -> Iterator[np.ndarray]:
    """`compute` over `rows` in batches of exactly `size`, the last one filled up with zeros: the results in pieces.

    Matrix products round differently for different batch sizes; with one size an image's features don't depend on
    which images happened to travel with it, so that a resumed run equals an undisturbed one.
    `each` calls a function for each batch: one after the other, or several at once.
    """

    def piece(start: int) -> np.ndarray:
        batch = rows[start : start + size]
        full = np.zeros((size, *rows.shape[1:]), rows.dtype)
        full[: len(batch)] = batch
        return compute(full)[: len(batch)]

    return each(piece, range(0, len(rows), size))
