"""One distributed sum: every task adds up its share of the work, and one more task adds the shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any, Protocol, Self, TypeVar

import ray


class Addable(Protocol):
    """Sums over rows that merge with +."""

    def __add__(self, other: Self, /) -> Self: ...


Item = TypeVar("Item")


def distributed_sum(items: Sequence[Item], summand: Callable[[Item], Addable], tasks: int) -> ray.ObjectRef:
    """Sum `summand(item)` over all items in this many tasks, and return the sum as a reference into the object store.

    The tasks take items by turns, so that the sum does not depend on how fast each task is.
    """
    shares = [list(items[task::tasks]) for task in range(min(tasks, len(items)))]
    return merge.remote(*(add_share.remote(share, summand) for share in shares))


@ray.remote(num_cpus=1)
def add_share(items: list[Any], summand: Callable[[Any], Addable]) -> Addable:
    """Return one task's sum."""
    return reduce(add, map(summand, items))


@ray.remote(num_cpus=1)
def merge(*shares: Addable) -> Addable:
    """Add up the shares of one sum."""
    return reduce(add, shares)
