"""Training features that a worker's memory does not hold: Ray Data reads them in random order, again and again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from jobs.cluster.capacity import READ_CPUS, Capacity
from jobs.cluster.memory import FILL, memory_of_a_task
from lib.experiment.settings import FitSettings
from lib.features.chunks import Chunk, read_chunk, split_into_chunks
from lib.features.tables import FeatureTables
from lib.storage.columns import column_vectors

if TYPE_CHECKING:  # the driver needs no torch
    from lib.maps.batches import Block, Share

SMALL = 2**30  # bytes that every machine has
SEGMENT = 512  # files that one Dataset reads: it takes half a second to start, and its plan stays small


def streamed_pairs(
    settings: FitSettings, tables: FeatureTables, pairs: Sequence[tuple[str, str]]
) -> frozenset[tuple[str, str]]:
    """Return the pairs whose rows pass through the workers because they would not fit there.

    `fit.rows` decides, unless it is "auto". Whether a pair is streamed does not depend on the others.
    """
    if settings.rows != "auto":
        return frozenset(pairs) if settings.rows == "streamed" else frozenset()
    sizes = {pair: tables.rows(pair[0]) * 4 * sum(tables.sizes(pair).values()) for pair in pairs}
    if all(size < SMALL for size in sizes.values()):
        return frozenset()
    capacity = Capacity.now()
    asked = memory_of_a_task.options(num_cpus=settings.cpus, num_gpus=1 if capacity.gpus else 0)
    room = FILL * ray.get(asked.remote(settings.cpus, capacity.fits(settings)))
    return frozenset(pair for pair, size in sizes.items() if size >= SMALL and size > room)


def stream_rows(
    tables: FeatureTables, networks: list[str], seed: int, share: Share
) -> Callable[[int], Iterator[Block]]:
    """Return a function for lib.maps.batches.StreamedRows that begins an endless stream of rows, file after file.

    Each pass over the table has an order of its own, and each file goes to one of the workers. A worker makes the
    Dataset itself, since one that Ray Train hands out begins with the same rows again after a restart.
    """
    work = split_into_chunks(tables, networks)

    def begin(drawn: int) -> Iterator[Block]:
        mine = islice(shuffled(len(work), seed, drawn), share.rank, None, share.workers)
        while True:
            yield from read_segment([work[place] for place in islice(mine, SEGMENT)], networks)

    return begin


def shuffled(files: int, seed: int, drawn: int) -> Iterator[int]:
    """Yield the files' numbers in random order, then all of them in another order, and so on for ever."""
    draw = np.random.default_rng([seed, drawn])
    while True:
        yield from draw.permutation(files).tolist()


def read_segment(segment: list[Chunk], networks: list[str]) -> Iterator[Block]:
    """Yield the rows of these files, in this order; any node with room reads them."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)  # else it logs each segment's start, plan and end
    context.execution_options.preserve_order = True  # the same seed gives the same fit
    rows = ray.data.from_items(list(range(len(segment))), override_num_blocks=len(segment)).map_batches(
        ReadRows(segment, networks), batch_size=1, num_cpus=READ_CPUS
    )
    for block in rows.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=4):
        yield [block[network] for network in networks]


class ReadRows:
    """Read the rows of some networks' features from a file, by the file's number."""

    def __init__(self, segment: list[Chunk], networks: list[str]) -> None:
        self.segment, self.networks = segment, networks

    def __call__(self, batch: dict[str, Any]) -> dict[str, np.ndarray]:
        """Return each network's vectors (rows, d) for {"item" (1,)}, in the table's number type."""
        rows = read_chunk(self.segment[int(batch["item"][0])])
        return {network: column_vectors(rows, network) for network in self.networks}
