"""What stands behind an error that Ray hands on, and whether it may be gone the next time."""

from __future__ import annotations

from ray.exceptions import RayError, RayTaskError

LONGEST = 300  # characters of an error's text that its last line repeats


def causes_of(error: BaseException) -> list[BaseException]:
    """Return an error and all that it was raised from: in tasks, in Ray Train's workers, in other errors.

    What comes from an error stands before it, so the last one lies deepest.
    """
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop(0)
        if not isinstance(cause, BaseException) or any(cause is other for other in found):
            continue
        found.append(cause)
        waiting += getattr(cause, "worker_failures", {}).values()  # of Ray Train's WorkerGroupError
        # A task's, Ray Train's controller's, that of one of its workers or of a look at it, Python's own.
        below = ("cause", "controller_failure", "_base_exc", "health_check_failure", "__cause__")
        waiting += [getattr(cause, name, None) for name in below]
    return found


def is_rays(error: BaseException) -> bool:
    """Return whether an error is Ray's own wrapper, which may be of its cause's type, too."""
    return isinstance(error, RayTaskError) and error.cause is not None


def may_pass(error: BaseException) -> bool:
    """Return whether an error may be gone the next time: a process, machine, store or disk failed, or memory was short.

    An actor that could not even be made would fail again.
    """
    if isinstance(error, RayTaskError) or getattr(error, "actor_init_failed", False):
        return False
    return isinstance(error, RayError | OSError | MemoryError)


def describe(error: BaseException) -> str:
    """Return an error's type and the first line of its text."""
    text = next(iter(str(error).strip().splitlines()), "")[:LONGEST].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
