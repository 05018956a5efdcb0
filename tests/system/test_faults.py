"""What dies in the middle of a run: it ends right all the same, as an undisturbed one does, and says what it cost."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import heads
import numpy as np
import pyarrow.parquet as pq
import pytest
from heads import Head, wait_until
from project import PROJECT
from runs import check_maps, command, path_of, run_of
from tiny import TINY

from jobs.cluster.commands import main
from jobs.cluster.runs import Run
from jobs.pipeline import pipeline
from lib.demo.pictures import draw_split
from lib.features.reading import read_features
from lib.features.tables import FeatureTables
from lib.storage.files import read_json

pytestmark = pytest.mark.slow

ROWS = {"train": 400, "val": 48}
LEAST_SQUARES = 'fit.families=["least_squares"]'
ADAM = ('fit.families=["affine"]', "fit.iterations=4000", "fit.checkpoint_every=500")


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment whose extraction takes long enough to be disturbed."""
    folder = tmp_path_factory.mktemp("longer")
    for place, (split, count) in enumerate(ROWS.items()):
        draw_split(str(folder / split), count, 64, place)
    path = folder / "tiny.toml"
    path.write_text(TINY.format(folder=folder))
    return path


@pytest.fixture(scope="module")
def undisturbed(longer: Path, tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Run:
    run = run_of(longer, tmp_path_factory.mktemp("undisturbed"), LEAST_SQUARES)
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
        manifest = read_json(path_of(run, "features", split, "a+b", "manifest.json"))
        assert manifest["images"]["listed"] == rows == manifest["images"]["extracted"]
        found, expected = (
            read_features(FeatureTables.open(path_of(one, "features", split)), ["a", "b"]) for one in (run, undisturbed)
        )
        assert found.image_id.tolist() == expected.image_id.tolist()
        for network in ("a", "b"):
            np.testing.assert_array_equal(found.vectors[network], expected.vectors[network])
    results, expected_results = (read_json(path_of(one, "results.json")) for one in (run, undisturbed))
    assert results == expected_results


def parts(run: Run, split: str = "train") -> list[Path]:
    return list(Path(path_of(run, "features", split, "a+b")).glob("*.parquet"))


def workers(title: str) -> list[int]:
    """Workers of this session's own Ray, whose raylet is a child of this process, that do what `title` says."""
    listed = subprocess.run(["ps", "-wweo", "pid=,ppid=,args="], capture_output=True, text=True).stdout
    rows = [(int(pid), int(parent), " ".join(line)) for pid, parent, *line in map(str.split, listed.splitlines())]
    raylets = {pid for pid, parent, line in rows if parent == os.getpid() and "raylet/raylet" in line}
    return [pid for pid, parent, line in rows if parent in raylets and line.startswith("ray::") and title in line]


class Killer(threading.Thread):
    """Kills one worker that does what `title` says, as soon as it is there and `ready`."""

    def __init__(self, title: str, ready: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self.title, self.ready, self.killed = title, ready, 0

    def run(self) -> None:
        while not self.killed:
            time.sleep(0.01)
            for pid in workers(self.title)[:1] if self.ready() else ():
                os.kill(pid, signal.SIGKILL)
                self.killed = pid


def test_killed_workers_of_the_extraction(longer: Path, undisturbed: Run, tmp_path: Path) -> None:
    """A decoding task at its start; then the actor with the networks, when some of its features are written."""
    run = run_of(longer, tmp_path, LEAST_SQUARES)
    decoding = Killer("DecodePieces)", lambda: True)
    networks = Killer("ExtractFeatures", lambda: decoding.killed > 0 and len(parts(run)) >= 4)
    decoding.start()
    networks.start()
    to_the_end(run)
    assert decoding.killed
    assert networks.killed, "too late: lengthen the run"
    check(run, undisturbed)
    recomputed = read_json(path_of(run, "features", "train", "a+b", "manifest.json"))["recomputed"]
    assert 0 <= recomputed < ROWS["train"]


def extracted(longer: Path, undisturbed: Run, root: Path) -> Run:
    """A run of Adam's fits that has its features already."""
    run = run_of(longer, root, *ADAM)
    for folder in ("features", "classifiers"):
        shutil.copytree(path_of(undisturbed, folder), path_of(run, folder))
    return run


@pytest.fixture(scope="module")
def worker_killed(longer: Path, undisturbed: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of Adam's fits, one of whose workers was killed after its first checkpoint."""
    run = extracted(longer, undisturbed, tmp_path_factory.mktemp("killed"))
    killer = Killer("RayTrainWorker", lambda: checkpoints(run) > 0)
    killer.start()
    to_the_end(run)
    assert killer.killed, "too late: lengthen the fit"
    return run


def checkpoints(run: Run) -> int:
    return len(list(Path(path_of(run, "train")).glob("*.pt")))


@pytest.mark.timeout(2400)
def test_a_killed_worker_of_a_fit(worker_killed: Run) -> None:
    check_maps(worker_killed)


@pytest.mark.timeout(2400)
def test_heads_that_are_lost_with_their_clusters(
    longer: Path, undisturbed: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two clusters are killed while a submitted job extracts, then fits; the same command goes on on a third.

    Then there is nothing to do.
    """
    fitted = extracted(longer, undisturbed, tmp_path / "undisturbed")
    to_the_end(fitted)
    run, line = run_of(longer, tmp_path, *ADAM), command(longer, tmp_path, *ADAM)[3:]
    said = lost_when(lambda: len(parts(run)) >= 2, line)
    assert "400 images to do" in said
    written = sum(pq.read_metadata(path).num_rows for path in parts(run))
    assert 0 < written < ROWS["train"], "too late: lengthen the extraction"

    said = lost_when(lambda: checkpoints(run) > 0, line)
    assert not Path(path_of(run, "results.json")).exists(), "too late: lengthen the fit"
    assert f"train: {ROWS['train'] - written} images to do, {written} are already done" in said
    manifest = read_json(path_of(run, "features", "train", "a+b", "manifest.json"))
    assert 0 <= manifest["recomputed"] <= ROWS["train"] - written, "no more than what was in flight"

    with cluster() as head:
        done = head.submit(*line)
    log = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, log
    assert "[extract] train: features of a, b are finished, skipped" in log
    assert re.search(r"\[fit\] [ab] -> [ab]: goes on from iteration [1-9]", log)
    check(run, fitted)

    with pytest.raises(SystemExit) as ended:
        main(pipeline, None, line, reads_images=True)
    assert not ended.value.code
    assert "Nothing to do" in capsys.readouterr().out


def cluster() -> AbstractContextManager[Head]:
    return heads.head("--num-cpus=2", "--num-gpus=0", "--object-store-memory=200000000")


def lost_when(ready: Callable[[], bool], line: list[str]) -> str:
    """Submit the pipeline to a new cluster, kill all of the cluster and the job, and return the job's log."""
    with cluster() as head:
        started = head.submit(*line, wait=False)
        assert started.returncode == 0, started.stderr.decode()
        wait_until(ready, 600, lambda: head.job("logs", "first").stdout.decode())
        said: str = json.loads(head.ask("/api/jobs/first/logs"))["logs"]
        head.lose()
    return said


def test_the_readme_of_lib_has_lines_of_python_print_the_accuracy_of_a_map(worker_killed: Run) -> None:
    lines = (
        (PROJECT / "lib" / "README.md")
        .read_text()
        .split("## Another network's head on your features")[1]
        .split("```")[1]
    )
    for name, here in {
        "python\n": "",
        "runs/demo": worker_killed.files.folder,
        "inception": "a",
        "resnet": "b",
    }.items():
        lines = lines.replace(name, here)
    done = subprocess.run([sys.executable, "-c", lines], cwd=PROJECT, capture_output=True, text=True, check=True)
    mappings = read_json(path_of(worker_killed, "results.json"))["mappings"]
    (accuracy,) = [row["accuracy"] for row in mappings if row["source"] == "a"]
    what, _, right = done.stdout.strip().partition(": ")
    assert (what, float(right)) == ("right", pytest.approx(accuracy, rel=1e-7))  # results.json has eight digits
