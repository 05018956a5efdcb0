"""One distributed sum: every task adds up its share of the work, and one more task adds the shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self, TypeVar

import ray

from jobs.cluster.capacity import Capacity


class Addable(Protocol):
    """Sums over rows that merge with +."""

    def __add__(self, other: Self, /) -> Self: ...


Item = TypeVar("Item")


def distributed_sum(
    items: Sequence[Item], summands: Callable[[Item], Sequence[Addable]], parts: int = 1
) -> list[ray.ObjectRef]:
    """Sum `summands(item)` over all items, and return the sums as references into the object store.

    `summands` returns `parts` sums for each item; sums of the same part are added. There are as many tasks as the
    cluster has CPUs, and the tasks take items by turns, so that the sums do not depend on how fast each task is.
    """
    tasks = min(len(items), max(1, int(Capacity.now().cpus)))
    shares = []
    for task in range(tasks):
        found = add_share.options(num_returns=parts).remote(list(items[task::tasks]), summands, parts)
        shares.append(found if parts > 1 else [found])  # Ray returns no list for one return value
    return [merge.remote(*part) for part in zip(*shares, strict=True)]


@ray.remote(num_cpus=1)
def add_share(items: list[Any], summands: Callable[[Any], Sequence[Addable]], parts: int) -> Any:
    """Return one task's sums: a list of them, or the only one, as Ray wants it for the number of returns."""
    sums = list(summands(items[0]))
    for item in items[1:]:
        sums = [before + found for before, found in zip(sums, summands(item), strict=True)]
    return sums if parts > 1 else sums[0]


@ray.remote(num_cpus=1)
def merge(first: Addable, *others: Addable) -> Addable:
    """Add up the shares of one sum."""
    for other in others:
        first = first + other
    return first
