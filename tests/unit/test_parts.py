"""Files of a feature table hold the same images in every run, however Ray Data gathers its blocks."""

import numpy as np
import pyarrow as pa
import pytest

from jobs.extraction.parts import blocks, in_batches, part_size
from lib.experiment.settings import ExtractSettings


def gathered(sizes: list[int], at_least: int) -> list[int]:
    """Ray Data's bundles: blocks in order, until they have so many rows (its bundler, EstimateSize)."""
    found, pending = [], 0
    for size in sizes:
        pending += size
        if pending >= at_least:
            found.append(pending)
            pending = 0
    return found + ([pending] if pending else [])


@pytest.mark.parametrize("batch", [1, 16, 64, 100, 300, 700, 5000])
@pytest.mark.parametrize(("rows", "per_file"), [(800, 1024), (144, 16), (70_000, 1024), (5000, 100), (40_000, 1000)])
@pytest.mark.parametrize("resumed", [False, True])
def test_nothing_that_ray_gathers_ends_inside_a_part(batch: int, rows: int, per_file: int, resumed: bool) -> None:
    size = part_size(rows, ExtractSettings(rows_per_file=per_file, batch_size=batch))
    numbers = np.arange(rows)
    if resumed:  # the first split is finished, and some parts of the second are
        numbers = numbers[rows * 3 // 4 :]
        numbers = numbers[(numbers // size) % 3 != 1]
    table = pa.table({"row": numbers})
    listed = blocks(table, size, batch)
    assert np.array_equal(np.sort(np.concatenate([one["row"].to_numpy() for one in listed])), numbers)
    order = np.concatenate([one["row"].to_numpy() for one in listed]) // size
    computed = gathered([len(one) for one in listed], batch)
    edges = np.cumsum(gathered(computed, size))
    for edge in edges[:-1]:
        assert order[edge - 1] != order[edge], "a part in two files"
    unfilled = np.count_nonzero(np.bincount(numbers // size) % size)  # parts that stand at the end, uncut
    assert all(len(one) < max(512, 2 * batch) for one in listed[: len(listed) - unfilled])


def test_small_tables_have_files_for_all_cores_each_of_whole_batches() -> None:
    assert part_size(800, ExtractSettings(batch_size=16)) == 32
    assert part_size(800, ExtractSettings()) == 64, "on a GPU 25 rows would be computed as 64"
    assert part_size(10, ExtractSettings(batch_size=1)) == 16
    assert part_size(10**6, ExtractSettings()) == 1024


@pytest.mark.parametrize(("rows", "batch", "sizes"), [(200, 64, [64, 64, 64, 8]), (800, 1, [25] * 32), (0, 64, [])])
def test_rows_in_no_parts_come_in_whole_batches(rows: int, batch: int, sizes: list[int]) -> None:
    table = pa.table({"row": range(rows)})
    found = in_batches(table, batch)
    assert [len(one) for one in found] == sizes
    assert pa.concat_tables([table.slice(0, 0), *found]) == table
