"""What would never end: a batch that always kills its process, and tasks without progress."""

import os
import signal
import time
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.cluster.progress import PATIENCE, set_patience, wait_for
from jobs.extraction.careful import TRIES, CountedDecodeImages, begin
from jobs.extraction.tally import Tally, start_tally
from lib.errors import RunError


@pytest.mark.slow
def test_a_run_without_progress_ends_and_says_what_it_waits_for(local_ray: None) -> None:
    import ray

    @ray.remote(num_cpus=1)
    def hang() -> None:
        time.sleep(600)

    @ray.remote(num_cpus=0.1)
    def pass_() -> None:
        return None

    hanging, passed = hang.remote(), pass_.remote()
    ray.wait([passed])
    set_patience(5.0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background begin by ignoring it
    begin = time.monotonic()
    said = r"predict: no progress for .* s: it waits for Ray's tasks, 1 of 2 parts are done\. Free are .* CPUs"
    try:
        with pytest.raises(RunError, match=said):
            wait_for("predict", "parts", [passed, hanging])
    finally:
        set_patience(PATIENCE)
        signal.signal(signal.SIGINT, before)
        ray.cancel(hanging, force=True)
    assert time.monotonic() - begin < 60


@pytest.mark.slow
def test_a_batch_that_always_kills_its_process_fails_the_run(tmp_path: Path, local_ray: None) -> None:
    """Ray alone would try it for ever."""
    import ray

    tally = start_tally({"val": str(tmp_path / "computed.json")})
    rows = pa.table({"image_id": ["val/a.jpg", "val/b.jpg"], "row": [7, 8], "split": ["val", "val"]})

    @ray.remote(num_cpus=0.5, max_retries=-1)
    def die() -> None:
        begin(tally, "decode 7+2", rows, "decoding")
        os._exit(1)

    with pytest.raises(RunError, match=rf"decoding 2 images from 'val/a.jpg' to 'val/b.jpg' was tried {TRIES} times"):
        ray.get(die.remote())


def test_work_that_ended_counts_from_the_start_again(tmp_path: Path) -> None:
    tally = Tally({"val": str(tmp_path / "computed.json")})
    assert [tally.begin("x"), tally.begin("x"), tally.begin("y")] == [1, 2, 1]
    tally.end("x", "never begun")
    assert [tally.begin("x"), tally.begin("y")] == [1, 2]


def test_without_a_tally_nothing_is_counted() -> None:
    empty = pa.table({"image_id": pa.array([], pa.string()), "label": pa.array([], pa.int32()),
                      "path": pa.array([], pa.string()), "start": pa.array([], pa.int64()),
                      "length": pa.array([], pa.int64()), "column": pa.array([], pa.string()),
                      "size": pa.array([], pa.int64()), "version": pa.array([], pa.string())})  # fmt: skip
    assert len(CountedDecodeImages(None, [], 10**6)(empty)) == 0
