"""Which failures of Ray Train's workers are tried again: those of processes and machines, not those of what they do."""

from __future__ import annotations

from collections.abc import Mapping

from ray.exceptions import RayError
from ray.train import UserCallback

from jobs.cluster.failures import causes_of
from lib.errors import UserError

MAY_PASS = (RuntimeError, OSError, MemoryError)  # RuntimeError: what a worker says whose partner has died


class EndWhatWouldFailAgain(UserCallback):
    """Ends the run with the error of a worker that would fail again.

    Ray Train by itself starts all workers anew after any failure, `fit.max_failures` times. Its controller calls this.
    """

    def after_exception(self, run_context: object, worker_exceptions: Mapping[int, BaseException]) -> None:
        """Raise a worker's error unless all workers may succeed the next time."""
        error = final_error(list(worker_exceptions.values()))
        if error is not None:
            raise error


def final_error(errors: list[BaseException]) -> BaseException | None:
    """Return an error that would come again, or None.

    A worker whose process was killed brings others to fail, too, and so excuses them. What lies deepest may be Ray's
    own, as when a worker does not answer in time; it may pass. A full disk or a store that has refused for long
    (StorageError) does not pass soon.
    """
    causes = [causes_of(error) for error in errors]
    if any(isinstance(cause, RayError) for each in causes for cause in each):
        return None
    for each in causes:
        for cause in each:
            if isinstance(cause, UserError):
                return cause
    others = [each for each in causes if not any(isinstance(cause, MAY_PASS) for cause in each)]
    return next((each[-1] for each in others if not type(each[-1]).__module__.startswith("ray.")), None)
