"""Tasks for many items, a bounded number of them at once, whose answers come in the items' order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

import ray

from jobs.cluster.capacity import Capacity
from lib.errors import UserError

AHEAD = 4  # tasks for each CPU, so that a slow one does not hold up the others
ENDING = 60.0  # seconds, in which cancelled tasks end
Item = TypeVar("Item")


def in_turn(submit: Callable[[Item], ray.ObjectRef], items: Iterable[Item]) -> Generator[Any, None, None]:
    """Yield what the tasks return that `submit` starts, in the order of the items.

    The driver holds a few answers, whatever the number of items. Tasks are cancelled if nobody wants further answers.
    Raises what a task raises; of an error that a person can mend, itself.
    """
    most = max(16, AHEAD * int(Capacity.now().cpus))
    waiting: deque[ray.ObjectRef] = deque()
    try:
        for item in items:
            waiting.append(submit(item))
            if len(waiting) == most:
                yield answer(waiting.popleft())
        while waiting:
            yield answer(waiting.popleft())
    finally:
        for task in waiting:
            ray.cancel(task)
        if waiting:  # till then they may go on writing
            ray.wait(list(waiting), num_returns=len(waiting), timeout=ENDING)


def answer(task: ray.ObjectRef) -> Any:
    """Return what a task returns. Raises what it raises; of an error that a person can mend, itself."""
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
