"""The scripts that stand for what people write compute what the project does, and what commands take is counted."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from jobs.benchmarks.peers import Row, draw, one_after_another, steady
from lib.benchmarks.peer_evaluation import compare, evaluate
from lib.benchmarks.peer_features import Pictures, compute_features
from lib.benchmarks.peer_fits import fit_adam, fit_all, fit_ridge
from lib.benchmarks.timing import timings_table
from lib.benchmarks.usage import Usage, beside_a_busy_process, usage_of
from lib.demo.pictures import draw_split
from lib.errors import RunError
from lib.evaluation.losses import Pairing

HUNGRY = """
import numpy, time
found = numpy.ones(25_000_000)
end = time.process_time() + 0.5
while time.process_time() < end:
    pass
time.sleep(0.5)
"""


def test_what_a_command_takes_is_counted_with_its_children(tmp_path: Path) -> None:
    """200 MB and half a second of a core in a process that the command's own process starts."""
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HUNGRY!r}], check=True)"
    found = usage_of([sys.executable, "-c", program], tmp_path, os.environ)
    assert found.seconds > 1
    assert 0.5 < found.cpu < 20
    assert 200e6 < found.memory < 1e9
    with pytest.raises(RunError, match="exit code 3"):
        usage_of([sys.executable, "-c", "import sys; sys.exit(3)"], tmp_path, os.environ)


def test_a_busy_process_ends_with_the_command() -> None:
    with beside_a_busy_process(True):
        pass
    with beside_a_busy_process(False):
        pass


def test_rows_are_pictures_a_second_and_what_more_of_them_cost() -> None:
    mine = (Usage(10, 12, 2e9), Usage(12, 13, 2e9), Usage(11, 1, 1e9))
    few = Row("features", "timm", 200, mine, (Usage(5, 6, 1e9),) * 3)
    many = Row("features", "timm", 2000, (Usage(20, 22, 2e9),), (Usage(35, 40, 1e9),))
    row = few.timing()
    assert row.part == "features, 200 pictures"
    assert row.project == (20, 200 / 12, 200 / 11)
    assert row.ratio == pytest.approx(5 / 11)
    assert row.note == "11.0 s (1.0 s of a core, 1.00 GB); the peer 5.0 s (6.0 s of a core, 1.00 GB)"
    (further,) = steady([few, many])
    assert (further.project, further.reference) == ((200.0,), (60.0,))
    assert "from 200 to 2,000" in timings_table([further])
    assert one_after_another([Usage(1, 2, 3), Usage(4, 5, 1)]) == Usage(5, 7, 3)


def test_pictures_are_listed_as_often_as_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.benchmarks.peers.DISTINCT", 24)
    draw(tmp_path, 50)
    assert len(list((tmp_path / "train").glob("*.JPEG"))) == 50
    lines = (tmp_path / "train.csv").read_text().splitlines()
    val = (tmp_path / "val.csv").read_text().splitlines()
    assert (tmp_path / "all.csv").read_text().splitlines() == [*lines, *val[1:]], "what peers read"
    assert (lines[0], len(lines)) == ("path,label", 51)
    assert {line.partition(",")[2] for line in lines[1:]} == {str(label) for label in range(12)}


def test_timms_features_are_those_of_all_pictures(tmp_path: Path) -> None:
    draw_split(str(tmp_path / "drawn"), 12, 64, 0)
    names = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "drawn").rglob("*.JPEG"))
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{name},0\n" for name in names))
    compute_features(str(tmp_path / "list.csv"), str(tmp_path), ["test_resnet"])
    assert np.load(tmp_path / "test_resnet.npy").shape[0] == 12 == len(Pictures(str(tmp_path / "list.csv"), None))


def test_maps_are_found_and_judged_as_the_project_judges_them(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    X = random.standard_normal((600, 8)).astype(np.float32)
    A = random.standard_normal((6, 8)).astype(np.float32)
    for split, rows in (("train", X[:400]), ("val", X[400:])):
        np.save(tmp_path / f"{split}-a.npy", rows)
        np.save(tmp_path / f"{split}-b.npy", rows @ A.T + 1)
    weight, bias = fit_adam(X, X @ A.T + 1, 300, 128)
    assert (weight.shape, bias.shape) == ((6, 8), (6,))
    fit_all("adam", tmp_path, 50, 128)
    for name, size in (("a", 8), ("b", 6)):
        C = random.standard_normal((5, size)).astype(np.float32)
        np.savez(tmp_path / f"classifier-{name}.npz", weight=C, bias=np.zeros(5, np.float32))
    np.save(tmp_path / "label.npy", random.integers(0, 5, 200))
    np.savez(tmp_path / "true.a-to-b.npz", weight=A, bias=np.ones(6, np.float32))
    evaluate(tmp_path)
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert found.keys() == {"adam.a-to-b", "adam.b-to-a", "true.a-to-b"}
    assert found["true.a-to-b"]["error"] < 1e-10
    assert found["true.a-to-b"]["loss"] == 0
    own, mapped = random.random(500) < 0.7, random.random(500) < 0.6
    pairing = Pairing.count(own, mapped)
    answer = compare(own, mapped)
    assert answer["accuracy"] == mapped.mean()
    assert 100 * float(answer["loss"]) == pytest.approx(pairing.loss)  # type: ignore[arg-type] # a number
    assert answer["p"] == pytest.approx(pairing.p_value)


def test_ridge_finds_a_known_map() -> None:
    pytest.importorskip("sklearn")
    random = np.random.default_rng(0)
    X, A = random.standard_normal((2000, 8)), random.standard_normal((6, 8))
    weight, bias = fit_ridge(X, X @ A.T + 1)
    np.testing.assert_allclose(weight, A, atol=0.01)
    np.testing.assert_allclose(bias, 1, atol=0.01)
