"""Features, maps and classifiers -> prediction tables: each network's own classes, and all mapped ones.

python -m jobs.predict lite
"""

from __future__ import annotations

from typing import Any

import ray

from jobs.cluster.commands import main
from jobs.cluster.runs import Run, say
from lib.evaluation.predictions import MAPPED_PREDICTIONS, PREDICTIONS, Predict
from lib.experiment.variants import map_name
from lib.features.chunks import Chunk, read_chunk, split_into_chunks
from lib.features.tables import features_digest
from lib.maps.affine import AffineMap
from lib.networks.classifiers import Classifier
from lib.storage.files import delete_files, read_json
from lib.storage.manifests import Artifact, digest
from lib.storage.parquet import write_table
from lib.storage.uris import join_uri

ROWS = 4096  # that one task judges, about


def predict(run: Run) -> int:
    """Make the missing prediction tables of all compositions C_B(F_B) and C_B(M_{A->B} F_A), every chunk a task."""
    features = run.path("features", "val")
    missing: dict[str, Artifact] = {}
    tasks = []
    for source, target in [*((name, name) for name in run.experiment.networks), *run.experiment.pairs()]:
        products = {name: composition(run, source, target, name) for name in compositions(run, source, target)}
        todo = {name: product for name, product in products.items() if product.begin(run.overwrite)}
        if not todo:
            say("predict", f"{source} -> {target} is finished, skipped")
            continue
        for name in todo:
            delete_files(run.path("predictions", name), lambda file: file.endswith(".parquet"))  # an interrupted run's
        missing |= todo
        work = split_into_chunks(features, list(dict.fromkeys([source, target])), ROWS)
        tasks += [judge.remote(run.folder, source, target, list(todo), *place) for place in enumerate(work)]
    rows: dict[str, int] = {}
    for counted in ray.get(tasks):
        rows |= {name: rows.get(name, 0) + count for name, count in counted.items()}
    for name, product in missing.items():
        source, _, target = name.partition("-to-")
        product.finish(rows[name], PREDICTIONS if source == target else MAPPED_PREDICTIONS)
    if missing:
        say("predict", f"{len(missing)} compositions of {max(rows.values())} images")
    return len(missing)


def compositions(run: Run, source: str, target: str) -> list[str]:
    """Names of the prediction tables of one pair: its own, or one for each of its maps."""
    if source == target:
        return [f"{source}-to-{target}"]
    return [map_name(source, target, variant) for variant in run.maps(source, target)]


def composition(run: Run, source: str, target: str, name: str) -> Artifact:
    features = run.path("features", "val")
    made_from: dict[str, Any] = {
        "source": features_digest(features, source),
        "target": features_digest(features, target),
    }
    if source != target:
        manifest = read_json(run.path("maps", f"{name}.manifest.json"))
        made_from["map"] = digest(manifest["made_from"])
    folder = run.path("predictions", name)
    return Artifact(join_uri(folder, "manifest.json"), (folder,), made_from)


@ray.remote(num_cpus=1)
def judge(folder: str, source: str, target: str, names: list[str], number: int, chunk: Chunk) -> dict[str, int]:
    """Write one chunk's part of these prediction tables; how many rows each has. Done again it writes the same."""
    classifier = Classifier.load(join_uri(folder, "classifiers", f"{target}.safetensors"))
    rows = read_chunk(chunk)
    for name in names:
        map_ = None
        if source != target:
            map_ = AffineMap.load(join_uri(folder, "maps", f"{name}.safetensors"))
        predicted = Predict(source, target, classifier, map_)(rows)
        write_table(join_uri(folder, "predictions", name, f"part-{number:06d}.parquet"), predicted)
    return dict.fromkeys(names, len(rows))


if __name__ == "__main__":
    main(predict, __doc__)
