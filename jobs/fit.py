"""Feature tables -> maps M_{A->B} for all ordered pairs of networks, as many side by side as resources allow.

python -m jobs.fit lite --set fit.iterations=1000
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray

from jobs.cluster.board import start_board
from jobs.cluster.capacity import Capacity
from jobs.cluster.commands import main
from jobs.cluster.damage import search
from jobs.cluster.runs import Run, say
from jobs.evaluation.shared_images import count_shared, refuse_shared
from jobs.fitting.closed_form_tasks import start_closed_forms
from jobs.fitting.progress import finished_maps, map_progress
from jobs.fitting.streaming import streamed_pairs
from jobs.fitting.works import ClosedFormWork, Curves, Pair, Work
from lib.errors import RunError
from lib.evaluation.belonging import check_weights
from lib.experiment.layout import manifest_in, map_name
from lib.experiment.variants import CURVE_ROWS, MapKey, curve_variants, full_variants, pairs_with_points, subsets
from lib.features.tables import FeatureTables
from lib.maps.curves import read_curve
from lib.networks.classifier_records import classifier_digest
from lib.storage.files import delete
from lib.storage.manifests import Artifact, begin_all

# These settings change neither a map nor its curve, except for rounding and for which random rows are streamed, so a
# run may go on with others; or they choose which maps there are.
NOT_RECORDED = {
    "checkpoint_every", "compile", "rows", "pool_rows", "workers", "cpus", "max_failures",
    "families", "seeds", "ranks", "learning_curve", "subsets", "controls", "keep",
}  # fmt: skip
SAID = 12  # maps or pairs that have lines of their own


def fit(run: Run) -> int:
    """Fit the maps that are missing, and return how many that were."""
    images = run.experiment.images
    tables = {split: FeatureTables.open(run.files.features(split)) for split in images.splits}
    check_weights(run.files, list(run.experiment.networks), list(tables.values()))
    say_undigested(run, tables)
    digests = Digests(run, tables)
    maps = begin_maps(run, digests)
    curves = begin_curves(run, tables["train"], digests)
    say_finished(run, [key.pair for key in maps], list(curves))
    if maps or curves:
        for split in images.judged:  # a set that comes later is looked at when it is evaluated
            shared = count_shared("fit", tables["train"], tables[split], list(run.experiment.networks))
            refuse_shared(shared, images.max_shared, split)
    by_adam = {key: artifact for key, artifact in maps.items() if key.variant.family == "affine"}
    fit_by_adam(run, tables["train"], by_adam)
    in_closed_form = {key: artifact for key, artifact in maps.items() if key not in by_adam}
    fit_in_closed_form(run, ClosedFormWork(run.files, tables["train"], tables["val"], in_closed_form, curves))
    return len(maps) + len(curves)


class Digests:
    """Digests of what maps are made from, each computed once for all maps that need it."""

    def __init__(self, run: Run, tables: Mapping[str, FeatureTables]) -> None:
        networks = run.experiment.networks
        self.train = {network: tables["train"].digest(network) for network in networks}
        self.val = {network: tables["val"].digest(network) for network in networks}
        uses_classifiers = "classifiers" in run.experiment.fit.families
        self.classifiers = {
            name: classifier_digest(run.files, name)
            for name, network in networks.items()
            if uses_classifiers or network.classifier != "own"
        }


def begin_maps(run: Run, digests: Digests) -> dict[MapKey, Artifact]:
    """Return the full maps that are still to be fitted. Raises ManifestMismatch if one was fitted to something else."""
    keys = [
        MapKey(*pair, variant) for pair in run.experiment.pairs() for variant in full_variants(run.experiment, *pair)
    ]
    return begin_all({key: map_artifact(run, key, digests) for key in keys}, run.overwrite, search(run, "fit"))


def map_artifact(run: Run, key: MapKey, digests: Digests) -> Artifact:
    """Return a map's manifest, its files, and what it is made from."""
    experiment, files = run.experiment, run.files
    made_from: dict[str, Any] = {"variant": key.variant.name}
    data = [files.map(key.name)]
    if key.variant.family == "classifiers":
        made_from["classifiers"] = [digests.classifiers[network] for network in key.pair]
    else:
        made_from |= {"source": digests.train[key.source], "target": digests.train[key.target]}
    if key.variant.family == "least_squares":
        made_from |= other_classifier(run, key.target, digests)
    if key.variant.family == "affine":
        seed = experiment.seed + key.variant.seed
        made_from |= {"seed": seed, "fit": experiment.fit.model_dump(exclude=NOT_RECORDED)}
        data += [files.curve(key.name), files.checkpoint(key.name)]
    return Artifact(files.map_manifest(key.name), tuple(data), made_from)


def other_classifier(run: Run, target: str, digests: Digests) -> dict[str, str | None]:
    """Return which classifier chooses a ridge to the target, if it is not the network's own, which weights tell."""
    return {} if run.experiment.networks[target].classifier == "own" else {"classifier": digests.classifiers[target]}


def begin_curves(run: Run, tables: FeatureTables, digests: Digests) -> dict[Pair, Curves]:
    """Return the pairs whose curves, by rank and by training rows, or whose controls are missing.

    A network's own control is that of the pair with itself. They hold nothing of their own, so that those of other
    ranks are made anew.
    """
    experiment, fit = run.experiment, run.experiment.fit
    sizes = tables.sizes(list(experiment.networks))
    ranked = min(experiment.evaluate.neighbour_rows, CURVE_ROWS)
    artifacts: dict[Pair, Artifact] = {}
    wanted: dict[Pair, Curves] = {}
    for source, target in pairs_with_points(experiment):
        itself = source == target
        variants = [] if itself else curve_variants(fit, min(sizes[source], sizes[target]))
        classifies = experiment.networks[target].classifies
        drawn = [] if itself or not classifies else subsets(fit)
        folder = run.files.curve_predictions(source, target)
        kept = [run.files.map(map_name(source, target, variant.name)) for variant in variants if fit.keep]
        made_from = {
            "train": [digests.train[source], digests.train[target]],
            "val": [digests.val[source], digests.val[target]],
            "maps": [variant.name for variant in variants],
            "points": [subset.name for subset in drawn],
            "controls": fit.controls and classifies,
            **other_classifier(run, target, digests),
            "seed": experiment.seed,
            "keep": fit.keep,
            "retrieval": ranked,
        }
        artifact = artifacts[source, target] = Artifact(manifest_in(folder), (folder, *kept), made_from)
        wanted[source, target] = Curves(
            source, target, variants, artifact, fit.keep, drawn, fit.controls and classifies, experiment.seed, ranked
        )  # fmt: skip
    return {pair: wanted[pair] for pair in begin_all(artifacts, True, search(run, "fit"))}


def say_undigested(run: Run, tables: Mapping[str, FeatureTables]) -> None:
    """Say which feature tables an earlier version wrote, without digests of their files."""
    found = [split.table(name) for split in tables.values() for name in run.experiment.networks]
    for folder in sorted({table.folder for table in found if not table.has_digests}):
        say("fit", f"{folder} is of an earlier version, which recorded no digests: damage there may go unnoticed")


def say_finished(run: Run, *missing: Sequence[Pair]) -> None:
    """Say which pairs have all their maps already."""
    begun = {pair for pairs in missing for pair in pairs}
    finished = [pair for pair in run.experiment.pairs() if pair not in begun]
    for source, target in finished[:SAID]:
        say("fit", f"{source} -> {target} is finished, skipped")
    if len(finished) > SAID:
        say("fit", f"and {len(finished) - SAID} more pairs are finished, skipped")


def fit_by_adam(run: Run, tables: FeatureTables, artifacts: Mapping[MapKey, Artifact]) -> None:
    """Fit all these maps in one run of Ray Train, as many at a time as there is room for."""
    if not artifacts:
        return
    from jobs.fitting.launching import train_maps  # imports Ray Train, which takes seconds

    settings = run.experiment.fit
    streamed = streamed_pairs(settings, tables, sorted({key.pair for key in artifacts}))
    if streamed:
        say("fit", f"training rows of {len(streamed)} pairs are streamed through the workers' memory")
    teams = min(len(artifacts), Capacity.now().fits(settings, bool(streamed)))  # more would hold memory and wait
    board = start_board()
    work = Work(settings, run.experiment.seed, run.files, tables, artifacts, board, streamed, teams)
    with map_progress(run.files, artifacts, board):
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


def fit_in_closed_form(run: Run, work: ClosedFormWork) -> None:
    """Fit each source's maps in tasks of its own."""
    if not work.maps and not work.curves:
        return
    with map_progress(run.files, work.maps):
        ray.get(start_closed_forms(run.experiment.fit, work))
    names: dict[Pair, list[str]] = {}
    for key in work.maps:
        names.setdefault(key.pair, []).append(key.variant.name)
    for pair, curves in work.curves.items():
        names.setdefault(pair, []).append(words_of(curves))
    for (source, target), found in list(names.items())[:SAID]:
        say("fit", f"{source} -> {target}: {', '.join(found)} in closed form")
    if len(names) > SAID:
        say("fit", f"and {len(names) - SAID} more pairs in closed form")


def words_of(curves: Curves) -> str:
    """Return what is fitted of a pair for its curves and controls."""
    if curves.source == curves.target:
        return "its control"
    count = len(curves.variants) + len(curves.subsets)
    found = [f"{count} maps for curves"] if count else []
    return " and ".join([*found, *(["a control"] if curves.controls else [])])


if __name__ == "__main__":
    main(fit, __doc__)
