"""Last lines: repeating a command is advised only where that can help."""

from __future__ import annotations

import pytest
from ray.exceptions import ActorDiedError, RayTaskError, WorkerCrashedError
from ray.train import ControllerError, WorkerGroupError

from jobs.cluster.commands import BAD_EXPERIMENT, FAILED, report_failure
from lib.errors import ExperimentError, ListingError


def in_task(cause: Exception) -> RayTaskError:
    return RayTaskError("extract", "Traceback ...", cause)


def as_raised(cause: Exception) -> Exception:
    """By ray.get: of the cause's class, too, with a traceback for its text."""
    error: Exception = in_task(cause).as_instanceof_cause()
    assert isinstance(error, type(cause))
    return error


def raised_from(cause: Exception) -> Exception:
    error = RuntimeError("a stage failed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        MemoryError(),
        WorkerCrashedError(),
        in_task(ConnectionResetError("reset")),
        WorkerGroupError("failed", {0: WorkerCrashedError()}),
        raised_from(in_task(OSError("disk"))),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_failure(error) == FAILED
    assert capsys.readouterr().err.splitlines()[-1].endswith("kept: run the same command again to go on from there.")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("label"),
        in_task(TypeError("unexpected keyword")),
        WorkerGroupError("failed", {0: ValueError("empty")}),
        ControllerError(AttributeError("none")),
        ActorDiedError(in_task(ZeroDivisionError("x"))),
    ],
)
def test_a_fault_of_the_program_is_called_so(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_failure(error) == FAILED
    last = capsys.readouterr().err.splitlines()[-1]
    assert "would fail again" in last
    assert "report" in last


@pytest.mark.parametrize("wrap", [lambda error: error, in_task, as_raised, raised_from, ControllerError])
def test_what_a_person_can_mend_is_told_alone(wrap: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(wrap)
    assert report_failure(wrap(ListingError("0.tar is cut"))) == FAILED
    assert capsys.readouterr().err == "error: 0.tar is cut\n"
    assert report_failure(wrap(ExperimentError("images.val: none"))) == BAD_EXPERIMENT
