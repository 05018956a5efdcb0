"""What dies in the middle of a run: it ends right all the same, as an undisturbed one does, and says what it cost."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY

from jobs.command import Run
from lib import pictures, storage, tables
from lib.experiment import load

pytestmark = pytest.mark.filterwarnings("default")  # Ray's own warnings
PROJECT = Path(__file__).parent.parent
ROWS = {"train": 400, "val": 48}


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment whose extraction takes long enough to be disturbed."""
    folder = tmp_path_factory.mktemp("longer")
    for place, (split, count) in enumerate(ROWS.items()):
        pictures.draw_split(str(folder / split), count, 64, place)
    path = folder / "tiny.toml"
    path.write_text(TINY.format(folder=folder))
    return path


def run_of(experiment: Path, root: Path, *overrides: str) -> Run:
    return Run(load(str(experiment), ['fit.families=["least_squares"]', *overrides]), str(root))


@pytest.fixture(scope="module")
def undisturbed(longer: Path, tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Run:
    run = run_of(longer, tmp_path_factory.mktemp("undisturbed"))
    to_the_end(run)
    return run


def to_the_end(run: Run) -> None:
    from jobs.evaluate import evaluate
    from jobs.extract import extract
    from jobs.fit import fit
    from jobs.predict import predict

    for stage in (extract, fit, predict, evaluate):
        stage(run)


def check(run: Run, undisturbed: Run) -> None:
    """Each image once, and the same results."""
    for split, rows in ROWS.items():
        manifest = storage.read_json(run.path("features", split, "a+b", "manifest.json"))
        assert manifest["images"]["listed"] == rows == manifest["images"]["extracted"]
        found, expected = (tables.read_features(one.path("features", split), ["a", "b"]) for one in (run, undisturbed))
        assert found.image_id.tolist() == expected.image_id.tolist()
        for network in ("a", "b"):
            np.testing.assert_array_equal(found.vectors[network], expected.vectors[network])
    results, expected_results = (storage.read_json(one.path("results.json")) for one in (run, undisturbed))
    assert results == expected_results


def parts(run: Run, split: str = "train") -> list[Path]:
    return list(Path(run.path("features", split, "a+b")).glob("*.parquet"))


def workers(title: str) -> list[int]:
    """Workers of this session's own Ray, whose raylet is a child of this process, that do what `title` says."""
    listed = subprocess.run(["ps", "-wweo", "pid=,ppid=,args="], capture_output=True, text=True).stdout
    rows = [(int(pid), int(parent), " ".join(line)) for pid, parent, *line in map(str.split, listed.splitlines())]
    raylets = {pid for pid, parent, line in rows if parent == os.getpid() and "raylet/raylet" in line}
    return [pid for pid, parent, line in rows if parent in raylets and line.startswith("ray::") and title in line]


class Killer(threading.Thread):
    """Kills one worker as soon as it is there and `ready`."""

    def __init__(self, title: str, ready: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self.title, self.ready, self.killed = title, ready, 0

    def run(self) -> None:
        while not self.killed:
            time.sleep(0.01)
            for pid in workers(self.title)[:1] if self.ready() else ():
                os.kill(pid, signal.SIGKILL)
                self.killed = pid


@pytest.mark.parametrize(("title", "written"), [("MapBatches(DecodeImages)", 0), ("ExtractFeatures", 4)])
def test_a_killed_worker_of_the_extraction(
    title: str, written: int, longer: Path, undisturbed: Run, tmp_path: Path
) -> None:
    """A decoding task at its start; an actor with the networks when some of its features are written."""
    run = run_of(longer, tmp_path)
    killer = Killer(title, lambda: len(parts(run)) >= written)
    killer.start()
    to_the_end(run)
    assert killer.killed, "too late: lengthen the run"
    check(run, undisturbed)
    recomputed = storage.read_json(run.path("features", "train", "a+b", "manifest.json"))["recomputed"]
    assert 0 <= recomputed < ROWS["train"]
