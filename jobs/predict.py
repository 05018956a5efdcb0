"""Features, maps and classifiers -> prediction tables: each network's own classes, and all mapped ones.

python -m jobs.predict lite
"""

from __future__ import annotations

from typing import Any

import ray

from jobs.command import Run, main, say
from lib import chunks, storage, tables
from lib.chunks import Chunk
from lib.classifiers import Classifier
from lib.maps import AffineMap
from lib.predictions import Predict
from lib.variants import stem

ROWS = 4096  # that one task judges, about


def predict(run: Run) -> int:
    """Make the missing prediction tables of all compositions C_B(F_B) and C_B(M_{A->B} F_A), every chunk a task."""
    features = run.path("features", "val")
    missing: dict[str, tables.Product] = {}
    tasks = []
    for source, target in [*((name, name) for name in run.experiment.networks), *run.experiment.pairs()]:
        products = {name: composition(run, source, target, name) for name in compositions(run, source, target)}
        todo = {name: product for name, product in products.items() if product.begin(run.overwrite)}
        if not todo:
            say("predict", f"{source} -> {target} is finished, skipped")
            continue
        for name in todo:
            storage.delete_files(
                run.path("predictions", name), lambda file: file.endswith(".parquet")
            )  # an interrupted run's
        missing |= todo
        work = chunks.chunks(features, list(dict.fromkeys([source, target])), ROWS)
        tasks += [judge.remote(run.folder, source, target, list(todo), *place) for place in enumerate(work)]
    rows: dict[str, int] = {}
    for counted in ray.get(tasks):
        rows |= {name: rows.get(name, 0) + count for name, count in counted.items()}
    for name, product in missing.items():
        source, _, target = name.partition("-to-")
        product.finish(rows[name], tables.PREDICTIONS if source == target else tables.MAPPED_PREDICTIONS)
    if missing:
        say("predict", f"{len(missing)} compositions of {max(rows.values())} images")
    return len(missing)


def compositions(run: Run, source: str, target: str) -> list[str]:
    """Names of the prediction tables of one pair: its own, or one for each of its maps."""
    if source == target:
        return [f"{source}-to-{target}"]
    return [stem(source, target, variant) for variant in run.maps(source, target)]


def composition(run: Run, source: str, target: str, name: str) -> tables.Product:
    features = run.path("features", "val")
    made_from: dict[str, Any] = {
        "source": tables.features_digest(features, source),
        "target": tables.features_digest(features, target),
    }
    if source != target:
        manifest = storage.read_json(run.path("maps", f"{name}.manifest.json"))
        made_from["map"] = tables.digest(manifest["made_from"])
    folder = run.path("predictions", name)
    return tables.Product(storage.join(folder, "manifest.json"), (folder,), made_from)


@ray.remote(num_cpus=1)
def judge(folder: str, source: str, target: str, names: list[str], number: int, chunk: Chunk) -> dict[str, int]:
    """Write one chunk's part of these prediction tables; how many rows each has. Done again it writes the same."""
    classifier = Classifier.load(storage.join(folder, "classifiers", f"{target}.safetensors"))
    rows = chunks.read(chunk)
    for name in names:
        map_ = None
        if source != target:
            map_ = AffineMap.load(storage.join(folder, "maps", f"{name}.safetensors"))
        predicted = Predict(source, target, classifier, map_)(rows)
        tables.write_table(storage.join(folder, "predictions", name, f"part-{number:06d}.parquet"), predicted)
    return dict.fromkeys(names, len(rows))


if __name__ == "__main__":
    main(predict, __doc__)
