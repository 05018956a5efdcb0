"""Feature tables -> maps M_{A->B} for all ordered pairs of networks, as many side by side as resources allow.

python -m jobs.fit lite --set fit.iterations=1000
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray

from jobs.cluster.capacity import Capacity
from jobs.cluster.commands import main
from jobs.cluster.runs import Run, say
from jobs.fitting.closed_forms import start_closed_forms
from jobs.fitting.memory import streamed_pairs
from jobs.fitting.progress import MapProgress, finished_maps
from lib.errors import RunError
from lib.experiment.variants import MapKey, pair_maps
from lib.features.tables import FeatureTables
from lib.maps.curves import read_curve
from lib.storage.files import delete
from lib.storage.manifests import Artifact, file_digest

# These settings change neither a map nor its curve, except for rounding and for which random rows are streamed, so a
# run may go on with others; or they choose which maps there are.
NOT_RECORDED = {
    "checkpoint_every", "compile", "rows", "pool_rows", "workers", "cpus", "max_failures",
    "families", "seeds", "ranks", "learning_curve",
}  # fmt: skip
SAID = 12  # maps or pairs that have lines of their own


def fit(run: Run) -> int:
    """Fit the maps that are missing, and return how many that were."""
    tables = FeatureTables.open(run.files.features("train"))
    missing = find_missing(run, tables)
    by_adam = {key: artifact for key, artifact in missing.items() if key.variant.family == "affine"}
    fit_by_adam(run, tables, by_adam)
    fit_in_closed_form(run, tables, {key: artifact for key, artifact in missing.items() if key not in by_adam})
    return len(missing)


def find_missing(run: Run, tables: FeatureTables) -> dict[MapKey, Artifact]:
    """Return the maps that are still to be fitted. Raises ManifestMismatch if one was fitted to something else."""
    sizes = tables.sizes(list(run.experiment.networks))
    digests = Digests(run, tables)
    missing: dict[MapKey, Artifact] = {}
    finished: list[tuple[str, str]] = []
    for source, target in run.experiment.pairs():
        artifacts = {
            key: map_artifact(run, key, digests) for key in pair_maps(run.experiment.fit, source, target, sizes)
        }
        begun = {key: artifact for key, artifact in artifacts.items() if artifact.begin(run.overwrite)}
        missing |= begun
        if not begun:
            finished.append((source, target))
    for source, target in finished[:SAID]:
        say("fit", f"{source} -> {target} is finished, skipped")
    if len(finished) > SAID:
        say("fit", f"and {len(finished) - SAID} more pairs are finished, skipped")
    return missing


class Digests:
    """Digests of what maps are made from, each computed once for all maps that need it."""

    def __init__(self, run: Run, tables: FeatureTables) -> None:
        networks = run.experiment.networks
        self.features = {network: tables.digest(network) for network in networks}
        uses_classifiers = "classifiers" in run.experiment.fit.families
        self.classifiers = {
            network: file_digest(run.files.classifier(network)) for network in networks if uses_classifiers
        }


def map_artifact(run: Run, key: MapKey, digests: Digests) -> Artifact:
    """Return a map's manifest, its files, and what it is made from."""
    experiment, files = run.experiment, run.files
    made_from: dict[str, Any] = {"variant": key.variant.name}
    data = [files.map(key.name)]
    if key.variant.family == "classifiers":
        made_from["classifiers"] = [digests.classifiers[network] for network in key.pair]
    else:
        made_from |= {"source": digests.features[key.source], "target": digests.features[key.target]}
    if key.variant.family == "affine":
        seed = experiment.seed + key.variant.seed
        made_from |= {"seed": seed, "fit": experiment.fit.model_dump(exclude=NOT_RECORDED)}
        data += [files.curve(key.name), files.checkpoint(key.name)]
    return Artifact(files.map_manifest(key.name), tuple(data), made_from)


def fit_by_adam(run: Run, tables: FeatureTables, artifacts: Mapping[MapKey, Artifact]) -> None:
    """Fit all these maps in one run of Ray Train, as many at a time as there is room for."""
    if not artifacts:
        return
    from jobs.fitting.training import Work, train_maps  # imports Ray Train, which takes seconds

    settings = run.experiment.fit
    streamed = streamed_pairs(settings, tables, sorted({key.pair for key in artifacts}))
    if streamed:
        say("fit", f"training rows of {len(streamed)} pairs are streamed through the workers' memory")
    teams = min(len(artifacts), Capacity.now().fits(settings, bool(streamed)))  # more would hold memory and wait
    work = Work(settings, run.experiment.seed, run.files, tables, artifacts, streamed, teams)
    with MapProgress(run.files, artifacts):
        train_maps(work)
    missing = len(artifacts) - len(finished_maps(run.files, artifacts))
    if missing:
        raise RunError(f"{missing} of {len(artifacts)} maps are not there after all fits: run the same command again")
    delete(run.files.checkpoints)
    for key in list(artifacts)[:SAID]:
        curve = read_curve(run.files.curve(key.name))
        say("fit", f"{key.title}: E {curve['error'][-1].as_py():.4f} after {len(curve)} iterations")
    if len(artifacts) > SAID:
        say("fit", f"and {len(artifacts) - SAID} more maps")


def fit_in_closed_form(run: Run, tables: FeatureTables, artifacts: Mapping[MapKey, Artifact]) -> None:
    """Fit each source's maps in tasks of its own."""
    if not artifacts:
        return
    tasks = start_closed_forms(run.experiment.fit, run.files, tables, artifacts)
    with MapProgress(run.files, artifacts):
        ray.get(tasks)
    pairs: dict[tuple[str, str], list[str]] = {}
    for key in artifacts:
        pairs.setdefault(key.pair, []).append(key.variant.name)
    for (source, target), names in list(pairs.items())[:SAID]:
        say("fit", f"{source} -> {target}: {', '.join(names)} in closed form")
    if len(pairs) > SAID:
        say("fit", f"and {len(pairs) - SAID} more pairs in closed form")


if __name__ == "__main__":
    main(fit, __doc__)
