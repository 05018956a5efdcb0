"""Lines that say how far a stage is: how much of how much, the rate, the time left; none while a store is silent."""

import io
import time

import pytest

from jobs.cluster import progress
from jobs.cluster.board import Board
from jobs.cluster.progress import Progress, time_left
from lib.errors import StorageError


def test_what_is_done_is_said_while_the_work_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.02)
    monkeypatch.setattr(progress, "LOOK", 0.005)
    answers = iter([StorageError("no answer"), None, 0, 3])
    board = Board()
    board.put("a", "a: begun")
    board.put("a", "a: half way")

    def count() -> int | None:
        answer = next(answers, 6)
        if isinstance(answer, StorageError):
            raise answer
        return answer

    with Progress("fit", "maps", 12, count, lines=board.take, last=board.take_notes, waits=lambda: "waiting for rows"):
        deadline = time.monotonic() + 10
        said = ""
        while "6 of 12" not in said and time.monotonic() < deadline:
            time.sleep(0.01)
            said += capsys.readouterr().out
        board.put("a", "a: nearly done")
        board.note("a: goes on from iteration 5")
    said += capsys.readouterr().out
    assert said.count("goes on from iteration 5") == 1
    lines = said.splitlines()
    assert lines[:2] == ["[fit] a: half way", "[fit] 0 of 12 maps; waiting for rows"]
    assert lines[2].startswith("[fit] 3 of 12 maps, ")
    assert lines[2].endswith(" left; waiting for rows")
    assert lines[3].startswith("[fit] 6 of 12 maps, ")


def test_rates_and_times_stand_in_units_that_read_well() -> None:
    images = Progress("extract", "images", 1_281_167, lambda: None, start=1000)
    assert images.line(21_000, 100) == "21,000 of 1,281,167 images, 200 images/s, 105 min left"
    assert Progress("fit", "maps", 12, lambda: None).line(3, 60) == "3 of 12 maps, 3 maps/min, 3 min left"
    assert (time_left(45.2), time_left(5900), time_left(7200)) == ("45 s", "98 min", "2.0 h")


@pytest.mark.parametrize("silent", [False, True])
def test_a_quiet_run_has_no_bar_either(silent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("jobs.cluster.runs._silent", silent)
    with Progress("fit", "maps", 12, lambda: None) as progress_:
        assert (progress_.bar is None) == silent
    assert ("maps" in terminal.getvalue()) != silent
