"""Training features that a worker's memory does not hold: Ray Data reads them in random order, again and again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import ray

from jobs.cluster.capacity import READ_CPUS, Capacity
from lib.experiment.settings import FitSettings
from lib.features.chunks import Chunk, read_chunk, split_into_chunks
from lib.features.tables import FeatureTables
from lib.maps.batches import Block, Share
from lib.storage.columns import column_vectors

SMALL = 2**30  # bytes that every machine has
FILL = 0.8  # share of a worker's memory that rows may fill
SEGMENT = 512  # files that one Dataset reads: it takes half a second to start, and its plan stays small


def is_streamed(settings: FitSettings, tables: FeatureTables, source: str, target: str) -> bool:
    """Return whether a fit's rows pass through its workers because they would not fit there.

    `fit.rows` decides, unless it is "auto".
    """
    if settings.rows != "auto":
        return settings.rows == "streamed"
    size = tables.rows(source) * 4 * sum(tables.sizes([source, target]).values())
    if size < SMALL:
        return False
    capacity = Capacity.now()
    gpus = 1 if capacity.gpus else 0
    room = free_memory.options(num_cpus=settings.cpus, num_gpus=gpus).remote(settings.cpus, capacity.fits(settings))
    return bool(size > FILL * ray.get(room))


@ray.remote
def free_memory(cpus: int, fits: int) -> float:
    """Return the bytes that each of `fits` fits side by side may fill where this task runs.

    That is its share of the node's memory, or of the GPU's if that is less.
    """
    import torch

    here = ray.get_runtime_context().get_node_id()
    (resources,) = [node["Resources"] for node in ray.nodes() if node["NodeID"] == here]
    of_the_node = resources["memory"] / max(1, min(fits, resources["CPU"] // cpus))
    return float(min(of_the_node, torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else of_the_node)


def stream_rows(
    tables: FeatureTables, source: str, target: str, seed: int, share: Share
) -> Callable[[int], Iterator[Block]]:
    """Return a function for lib.maps.batches.StreamedRows that begins an endless stream of rows, file after file.

    Each pass over the table has an order of its own, and each file goes to one of the workers. A worker makes the
    Dataset itself, since one that Ray Train hands out begins with the same rows again after a restart.
    """
    work = split_into_chunks(tables, [source, target])

    def begin(drawn: int) -> Iterator[Block]:
        mine = islice(shuffled(len(work), seed, drawn), share.rank, None, share.workers)
        while True:
            yield from read_segment([work[place] for place in islice(mine, SEGMENT)], source, target)

    return begin


def shuffled(files: int, seed: int, drawn: int) -> Iterator[int]:
    """Yield the files' numbers in random order, then all of them in another order, and so on for ever."""
    draw = np.random.default_rng([seed, drawn])
    while True:
        yield from draw.permutation(files).tolist()


def read_segment(segment: list[Chunk], source: str, target: str) -> Iterator[Block]:
    """Yield the rows of these files, in this order; any node with room reads them."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)  # else it logs each segment's start, plan and end
    context.execution_options.preserve_order = True  # the same seed gives the same fit
    rows = ray.data.from_items(list(range(len(segment))), override_num_blocks=len(segment)).map_batches(
        ReadRows(segment, source, target), batch_size=1, num_cpus=READ_CPUS
    )
    for block in rows.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=4):
        yield block["x"], block["y"]


class ReadRows:
    """Read the rows of two networks' features from a file, by the file's number."""

    def __init__(self, segment: list[Chunk], source: str, target: str) -> None:
        self.segment, self.source, self.target = segment, source, target

    def __call__(self, batch: dict[str, Any]) -> dict[str, np.ndarray]:
        """Return {"x" (rows, d_A), "y" (rows, d_B)} for {"item" (1,)}, in the table's number type."""
        rows = read_chunk(self.segment[int(batch["item"][0])])
        return {"x": column_vectors(rows, self.source), "y": column_vectors(rows, self.target)}
