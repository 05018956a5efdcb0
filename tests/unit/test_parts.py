"""Files of a feature table hold the same images in every run, however Ray Data gathers its blocks."""

import numpy as np
import pytest

from jobs.extraction.parts import Share, in_batches, part_size, pieces
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


def ranges_of(numbers: list[np.ndarray]) -> list[tuple[int, int]]:
    """First and end of each run of numbers."""
    return [(int(one[0]), int(one[-1]) + 1) for one in numbers]


@pytest.mark.parametrize("batch", [1, 16, 64, 100, 300, 700, 5000])
@pytest.mark.parametrize(("rows", "per_file"), [(800, 1024), (144, 16), (70_000, 1024), (5000, 100), (40_000, 1000)])
@pytest.mark.parametrize("resumed", [False, True])
def test_nothing_that_ray_gathers_ends_inside_a_part(batch: int, rows: int, per_file: int, resumed: bool) -> None:
    size = part_size(rows, ExtractSettings(rows_per_file=per_file, batch_size=batch))
    numbers = np.arange(rows)
    if resumed:  # the first split is finished, and some parts of the second are
        numbers = numbers[rows * 3 // 4 :]
        numbers = numbers[(numbers // size) % 3 != 1]
    edges = [*(np.flatnonzero(np.diff(numbers // size)) + 1)]
    listed = [np.arange(first, end) for first, end in pieces(ranges_of(np.split(numbers, edges)), size, batch)]
    assert np.array_equal(np.sort(np.concatenate(listed)), numbers)
    order = np.concatenate(listed) // size
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
    found = in_batches(rows, batch)
    assert [end - first for first, end in found] == sizes
    assert [row for first, end in found for row in range(first, end)] == list(range(rows))


def test_a_part_of_two_splits_is_decoded_as_one_and_belongs_to_each_in_part() -> None:
    train, val = Share(0, 100, 32), Share(100, 130, 32)
    assert list(train.parts) == [0, 1, 2, 3]
    assert list(val.parts) == [3, 4]
    assert [share.rows_of(3) for share in (train, val)] == [(96, 100), (100, 128)]
    ranges = [share.rows_of(part) for share in (train, val) for part in share.parts]
    assert pieces(ranges, 32, 8).tolist() == [[0, 32], [32, 64], [64, 96], [96, 128], [128, 130]]
    assert pieces([val.rows_of(3), val.rows_of(4)], 32, 8).tolist() == [[100, 128], [128, 130]]
    assert not len(pieces([], 32, 8))


def test_a_million_parts_are_planned_at_once() -> None:
    """Numbers alone: 32 bytes for each piece of 256 images."""
    size = 1024
    found = pieces([(first, first + size) for first in range(0, 10**6 * size, size)], size, 64)
    assert found.shape == (4 * 10**6, 2)
    assert found[-1].tolist() == [10**9 + 24 * 10**6 - 256, 10**9 + 24 * 10**6]
