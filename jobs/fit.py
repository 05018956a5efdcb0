"""Feature tables -> maps M_{A->B} for all ordered pairs of networks, as many side by side as resources allow.

python -m jobs.fit lite --set fit.iterations=1000
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import ray

from jobs.cluster.capacity import Capacity
from jobs.cluster.commands import main
from jobs.cluster.runs import Run, say
from jobs.fitting.adam import fit_title, quicken_ray_train, train_map
from jobs.fitting.closed_forms import fit_pair, sum_moments
from jobs.fitting.streaming import is_streamed
from lib.experiment.variants import Variant, map_name
from lib.features.tables import features_digest
from lib.maps.curves import CURVE, read_curve
from lib.storage.files import delete
from lib.storage.manifests import Artifact, file_digest

Key = tuple[str, str, Variant]  # source, target, how
# These change neither a map nor its curve (but for rounding, and which random rows come), so a run may go on with
# others; or they choose maps.
NOT_RECORDED = {
    "checkpoint_every", "compile", "rows", "pool_rows", "workers", "cpus", "max_failures",
    "families", "seeds", "ranks", "learning_curve",
}  # fmt: skip


def fit(run: Run) -> int:
    """Fit the maps that are missing."""
    products = {}
    for source, target in run.experiment.pairs():
        missing = 0
        for variant in run.maps(source, target):
            product = map_product(run, source, target, variant)
            if product.begin(run.overwrite):
                products[source, target, variant] = product
                missing += 1
        if not missing:
            say("fit", f"{source} -> {target} is finished, skipped")
    by_adam = {key: product for key, product in products.items() if key[2].family == "affine"}
    in_closed_form = {key: product for key, product in products.items() if key not in by_adam}
    fit_by_adam(run, by_adam)
    fit_in_closed_form(run, in_closed_form)
    return len(products)


def map_product(run: Run, source: str, target: str, variant: Variant) -> Artifact:
    experiment = run.experiment
    path = run.path("maps", map_name(source, target, variant))
    if variant.family == "classifiers":
        files = [run.path("classifiers", f"{network}.safetensors") for network in (source, target)]
        made_from: dict[str, Any] = {"classifiers": [file_digest(file) for file in files]}
        return Artifact(f"{path}.manifest.json", (f"{path}.safetensors",), {"variant": variant.name, **made_from})
    features = run.path("features", "train")
    made_from = {network: features_digest(features, network) for network in (source, target)}
    made_from = {"variant": variant.name, "source": made_from[source], "target": made_from[target]}
    if variant.family != "affine":
        return Artifact(f"{path}.manifest.json", (f"{path}.safetensors",), made_from)
    made_from |= {"seed": experiment.seed + variant.seed, "fit": experiment.fit.model_dump(exclude=NOT_RECORDED)}
    checkpoints = run.path("train", map_name(source, target, variant))
    return Artifact(f"{path}.manifest.json", (f"{path}.safetensors", f"{path}.curve.parquet", checkpoints), made_from)


def fit_by_adam(run: Run, products: dict[Key, Artifact]) -> None:
    """One run of Ray Train each, so many at a time as there is room for."""
    if not products:
        return
    quicken_ray_train()
    streamed = {key: announce_streaming(run, *key) for key in products}
    side_by_side = Capacity.now().fits(run.experiment.fit, any(streamed.values()))  # more would hold memory, and wait
    pool = ThreadPoolExecutor(side_by_side)
    fits = {pool.submit(train_map, run.experiment, run.folder, *key, streamed[key]): key for key in products}
    try:
        for done in as_completed(fits):
            done.result()
            key = fits[done]
            curve = read_curve(products[key].data[1])
            products[key].finish(len(curve), CURVE, fit_error=float(curve["error"][-1].as_py()))
            say("fit", f"{fit_title(*key)}: E {curve['error'][-1].as_py():.4f} after {len(curve)} iterations")
    finally:  # after a failure don't wait for those that run: they go on from their checkpoints in the next run
        pool.shutdown(wait=False, cancel_futures=True)
    delete(run.path("train"))  # the checkpoints


def announce_streaming(run: Run, source: str, target: str, variant: Variant) -> bool:
    """Whether the rows of this fit are streamed, which is said."""
    streamed = is_streamed(run.experiment.fit, run.path("features", "train"), source, target)
    if streamed:
        say("fit", f"{fit_title(source, target, variant)}: training rows are streamed through its workers' memory")
    return streamed


def fit_in_closed_form(run: Run, products: dict[Key, Artifact]) -> None:
    """Sum over the training features once, then one task a pair."""
    if not products:
        return
    networks = {network for source, target, variant in products for network in (source, target) if variant.sums}
    moments = sum_moments(run.path("features", "train"), sorted(networks)) if networks else []
    pairs: dict[tuple[str, str], list[Variant]] = {}
    for source, target, variant in products:
        pairs.setdefault((source, target), []).append(variant)
    tasks = [fit_pair.remote(run.folder, *pair, which, moments) for pair, which in pairs.items()]
    for (source, target), which, made in zip(pairs, pairs.values(), ray.get(tasks), strict=True):
        for variant in which:
            products[source, target, variant].finish(1, **made[variant])
        say("fit", f"{source} -> {target}: {', '.join(variant.name for variant in which)} in closed form")


if __name__ == "__main__":
    main(fit, __doc__)
