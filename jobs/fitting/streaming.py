"""Training features that a worker's memory doesn't hold: Ray Data reads them in random order, again and again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import ray

from jobs.cluster.capacity import READ_CPUS, Capacity
from lib.experiment.settings import FitSettings
from lib.features.chunks import Chunk, read_chunk, split_into_chunks, vectors_of
from lib.features.tables import feature_size, row_count
from lib.maps.batches import Block, Share

SMALL = 2**30  # bytes that every machine has
FILL = 0.8  # of a worker's memory, at the most, for rows that lie there
SEGMENT = 512  # files that one Dataset reads: its start, half a second, comes seldom, its plan stays small


def is_streamed(options: FitSettings, features: str, source: str, target: str) -> bool:
    """Whether a fit's rows pass through its workers, since they would not lie there: by size, unless the user says."""
    if options.rows != "auto":
        return options.rows == "streamed"
    rows = row_count(features, source)
    size = rows * 4 * sum(feature_size(features, network) for network in (source, target))
    if size < SMALL:
        return False
    capacity = Capacity.now()
    gpus = 1 if capacity.gpus else 0
    room = free_memory.options(num_cpus=options.cpus, num_gpus=gpus).remote(options.cpus, capacity.fits(options))
    return bool(size > FILL * ray.get(room))


@ray.remote
def free_memory(cpus: int, fits: int) -> float:
    """Bytes that one of so many fits may fill where this task runs: of the GPU, where it has one, and of its node."""
    import torch

    here = ray.get_runtime_context().get_node_id()
    (resources,) = [node["Resources"] for node in ray.nodes() if node["NodeID"] == here]
    of_the_node = resources["memory"] / max(1, min(fits, resources["CPU"] // cpus))
    return float(min(of_the_node, torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else of_the_node)


def stream_rows(features: str, source: str, target: str, seed: int, share: Share) -> Callable[[int], Iterator[Block]]:
    """For lib.maps.batches.StreamedRows: begins an endless stream of rows, file after file.

    Each pass over the table has an order of its own, and each file goes to one of the workers. A worker makes the
    Dataset itself: one that Ray Train hands out begins with the same rows again after a restart.
    """
    work = split_into_chunks(features, [source, target])

    def begin(drawn: int) -> Iterator[Block]:
        mine = islice(shuffled(len(work), seed, drawn), share.rank, None, share.workers)
        while True:
            yield from read_segment([work[place] for place in islice(mine, SEGMENT)], source, target)

    return begin


def shuffled(files: int, seed: int, drawn: int) -> Iterator[int]:
    """The files' numbers in random order, then all of them in another, and so on for ever."""
    draw = np.random.default_rng([seed, drawn])
    while True:
        yield from draw.permutation(files).tolist()


def read_segment(segment: list[Chunk], source: str, target: str) -> Iterator[Block]:
    """The rows of these files, in this order, read on whatever node has room."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)  # else each segment's start, plan and end
    context.execution_options.preserve_order = True  # the same seed gives the same fit
    rows = ray.data.from_items(list(range(len(segment))), override_num_blocks=len(segment)).map_batches(
        ReadRows(segment, source, target), batch_size=1, num_cpus=READ_CPUS
    )
    for block in rows.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=4):
        yield block["x"], block["y"]


class ReadRows:
    """Number of a file -> its rows of two networks' features."""

    def __init__(self, segment: list[Chunk], source: str, target: str) -> None:
        self.segment, self.source, self.target = segment, source, target

    def __call__(self, batch: dict[str, Any]) -> dict[str, np.ndarray]:
        """{"item" (1,)} -> {"x" (rows, d_A), "y" (rows, d_B)}, of the table's type of number."""
        rows = read_chunk(self.segment[int(batch["item"][0])])
        return {"x": vectors_of(rows, self.source), "y": vectors_of(rows, self.target)}
