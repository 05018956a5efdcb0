"""Tell TensorBoard and MLflow a run's numbers and curves. Their libraries are imported when they are wanted."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from lib.errors import ExperimentError, RunError
from lib.experiment.settings import TrackSettings
from lib.report.findings import Findings
from lib.report.provenance import flattened
from lib.report.tracked import curves, numbers

PARAMETERS, METRICS = 100, 1000  # that MLflow takes at once
EVENTS = "events.out.tfevents."  # before the names of TensorBoard's files
VALUE = 500  # characters of a parameter that MLflow takes
Item = TypeVar("Item")


def refuse_missing(settings: TrackSettings) -> None:
    """Raise ExperimentError, before any work, if a tracker's library is not installed."""
    for field, library, package in (("tensorboard", "tensorboardX", "tensorboardX"), ("mlflow", "mlflow", "mlflow")):
        if getattr(settings, field) is not None and importlib.util.find_spec(library) is None:
            raise ExperimentError(
                f"track.{field}: {library} is not installed here: pip install {package}, or leave track.{field} out"
            )


def tell_tensorboard(folder: str, findings: Findings) -> None:
    """Write event files into `folder`/<experiment>, in place of those that are there. Raises RunError."""
    from tensorboardX import SummaryWriter

    path = Path(folder).expanduser() / findings.results["experiment"]
    try:
        for old in path.glob(f"{EVENTS}*"):
            old.unlink()
        with SummaryWriter(str(path)) as writer:
            for name, value in numbers(findings.results).items():
                writer.add_scalar(name, value, 0)
            for name, points in curves(findings):
                for step, value in points:
                    writer.add_scalar(name, value, step)
            settings = "\n".join(f"- {key}: `{value}`" for key, value in flattened(findings.results["settings"]))
            writer.add_text("settings", settings, 0)
    except OSError as error:
        raise RunError(f"track.tensorboard: cannot write into {path}: {error}") from error


def tell_mlflow(uri: str, findings: Findings) -> None:
    """Make a run in MLflow's experiment of this name. Raises RunError if the server does not take it."""
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # the console has this project's lines
    import mlflow
    from mlflow.entities import Metric, Param

    results = findings.results
    client = mlflow.MlflowClient(uri)
    try:
        found = client.get_experiment_by_name(results["experiment"])
        experiment = found.experiment_id if found else client.create_experiment(results["experiment"])
        run = client.create_run(experiment, run_name=results["settings"].get("title") or results["experiment"])
        name, begun = run.info.run_id, run.info.start_time
        parameters = [Param(key, value[:VALUE]) for key, value in flattened(results["settings"])]
        points = [(key, 0, value) for key, value in numbers(results).items()]
        points += [(key, step, value) for key, line in curves(findings) for step, value in line]
        for some in in_batches(parameters, PARAMETERS):
            client.log_batch(name, params=some)
        for these in in_batches([Metric(key, value, begun, step) for key, step, value in points], METRICS):
            client.log_batch(name, metrics=these)
        client.set_terminated(name)
    except mlflow.exceptions.MlflowException as error:
        raise RunError(f"track.mlflow: {uri} does not take the run: {error}") from error


def in_batches(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in order, at most `size` at once."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
