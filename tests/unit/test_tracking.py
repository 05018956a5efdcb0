"""TensorBoard and MLflow are told the numbers of results.json; a tracker that is not installed is refused first."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import made_up
import pytest
from project import EXPERIMENTS
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import masked_crc32c

import jobs.tracking.trackers
from jobs.tracking.trackers import refuse_missing, tell_mlflow, tell_tensorboard
from lib.errors import ExperimentError, RunError
from lib.experiment.loading import load_experiment
from lib.experiment.settings import TrackSettings
from lib.report.tracked import POINTS, curves, numbers


@pytest.fixture(scope="module")
def findings() -> Any:
    return made_up.findings({"a": 0.8, "b": 0.75})


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of each scalar in TensorBoard's files, whose records have a length and two checksums."""
    found: dict[str, list[tuple[int, float]]] = {}
    for file in folder.glob("events.out.tfevents.*"):
        data, place = file.read_bytes(), 0
        while place < len(data):
            length = int.from_bytes(data[place : place + 8], "little")
            record = data[place + 12 : place + 12 + length]
            assert int.from_bytes(data[place + 12 + length : place + 16 + length], "little") == masked_crc32c(record)
            place += 16 + length
            for value in event_pb2.Event.FromString(record).summary.value:
                if value.HasField("simple_value"):
                    step = event_pb2.Event.FromString(record).step
                    found.setdefault(value.tag, []).append((step, value.simple_value))
    return found


def test_numbers_are_those_of_results(findings: Any) -> None:
    found, results = numbers(findings.results), findings.results
    assert found["accuracy/a"] == results["networks"]["a"]["accuracy"]
    mapping = results["mappings"][0]
    assert found["loss/a-to-b"] == mapping["loss"]
    assert "kappa/a-to-b" not in found
    lines = dict(curves(findings))
    assert [step for step, _ in lines["loss_by_rank/a-to-b"]] == [1, 2, 4, 8, 16, 32]
    assert [step for step, _ in lines["loss_by_rows/b-to-a"]] == [1250, 2500, 5000, 10_000, 20_000]
    iterations, errors = findings.curve("a", "b")
    shown = lines["training_error/a-to-b"]
    assert len(shown) == POINTS
    assert shown[0] == (1, pytest.approx(errors[0]))
    assert shown[-1] == (iterations[-1], pytest.approx(errors[-1]))


def test_many_networks_have_numbers_and_no_curves() -> None:
    many = made_up.findings({f"n{k}": 0.6 for k in range(7)})
    assert len([name for name in numbers(many.results) if name.startswith("loss/")]) == 42
    assert list(curves(many)) == []


def test_tensorboard_is_told_once_whatever_was_there(findings: Any, tmp_path: Path) -> None:
    for _ in range(2):
        tell_tensorboard(str(tmp_path), findings)
    found = events(tmp_path / "made-up")
    assert found["loss/a-to-b"] == [(0, pytest.approx(findings.results["mappings"][0]["loss"]))]
    assert len(found["training_error/b-to-a"]) == POINTS
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"track\.tensorboard: cannot write"):
        tell_tensorboard(str(tmp_path / "file"), findings)


def test_a_tracker_that_is_not_installed_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.tracking.trackers.importlib.util, "find_spec", lambda name: None)
    refuse_missing(TrackSettings())
    with pytest.raises(ExperimentError, match=r"track\.mlflow: mlflow is not installed here: pip install mlflow"):
        refuse_missing(TrackSettings(mlflow="http://127.0.0.1:1"))
    with pytest.raises(ExperimentError, match=r"track\.tensorboard"):
        refuse_missing(TrackSettings(tensorboard="tb"))


def test_without_trackers_neither_library_is_imported() -> None:
    program = (
        "import sys, jobs.track, jobs.pipeline; sys.exit('tensorboardX' in sys.modules or 'mlflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=EXPERIMENTS.parents[1])
    experiment = load_experiment("lite", ["track.tensorboard={root}/tb"], EXPERIMENTS)
    assert experiment.located("/runs/lite").track.tensorboard == "/runs/lite/tb"


def test_mlflow_gets_a_run(findings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed (pip install -e '.[mlflow]')")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    tell_mlflow(tmp_path.as_uri(), findings)
    client = mlflow.MlflowClient(tmp_path.as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("made-up").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["loss/a-to-b"] == pytest.approx(findings.results["mappings"][0]["loss"])
    assert run.data.params["networks.a.model"] == "a.tv_in1k"
    history = client.get_metric_history(run.info.run_id, "training_error/a-to-b")
    assert len(history) == POINTS
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RunError, match=r"track\.mlflow"):
        tell_mlflow("http://127.0.0.1:9", findings)
