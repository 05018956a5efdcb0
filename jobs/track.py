"""results.json and error curves -> TensorBoard's event files and a run in MLflow, if the experiment's [track] says so.

python -m jobs.track lite --set track.tensorboard=runs/tensorboard
"""

from __future__ import annotations

from jobs.cluster.commands import main
from jobs.cluster.runs import Run, say
from jobs.tracking.trackers import tell_mlflow, tell_tensorboard
from lib.report.findings import Findings
from lib.storage.files import read_json
from lib.storage.manifests import Artifact, digest


def track(run: Run) -> int:
    """Tell each tracker that is switched on, unless it was told these results. Return how many were told."""
    settings = run.experiment.track
    trackers = {"tensorboard": (settings.tensorboard, tell_tensorboard), "mlflow": (settings.mlflow, tell_mlflow)}
    wanted = {name: (place, tell) for name, (place, tell) in trackers.items() if place is not None}
    if not wanted:
        return 0
    told, results = 0, digest(read_json(run.files.results))
    for name, (place, tell) in wanted.items():
        artifact = Artifact(run.files.tracked_manifest(name), (), {"results": results, "place": place})
        if not artifact.begin(overwrite=True):
            continue
        tell(place, Findings.read(run.files))
        artifact.finish(1)
        say("track", f"{name}: {place}")
        told += 1
    return told


if __name__ == "__main__":
    main(track, __doc__)
