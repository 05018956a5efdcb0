"""Ray Train's workers start anew after deaths of processes and machines, not after errors that would come again."""

import pyarrow as pa
import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError, WorkerHealthCheckTimeoutError

from jobs.fitting.retries import EndWhatWouldFailAgain, final_error
from lib.errors import RunError, StorageError

DEATH = ActorDiedError()


def from_disk() -> StorageError:
    error = StorageError("cannot write /x")
    error.__cause__ = OSError(28, "No space left on device")
    return error


@pytest.mark.parametrize(
    "error", [from_disk(), RunError("too few rows"), pa.ArrowInvalid("Parquet file size is 0 bytes"), KeyError("label")]
)
def test_what_would_come_again_ends_the_run(error: Exception) -> None:
    assert final_error([error]) is error
    with pytest.raises(type(error)):
        EndWhatWouldFailAgain().after_exception(None, {1: error})
    assert final_error([error, DEATH]) is None, "a death, of which the other may be a consequence"


@pytest.mark.parametrize(
    "error",
    [
        DEATH,
        OutOfMemoryError("killed"),
        RuntimeError("gloo: connection closed by peer"),
        ConnectionResetError("reset"),
        WorkerHealthCheckFailedError("A worker health check failed.", failure=DEATH),
        WorkerHealthCheckTimeoutError("A worker does not answer"),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    assert final_error([error]) is None
    EndWhatWouldFailAgain().after_exception(None, {0: error})
