"""Features, maps and classifiers -> prediction tables: each network's own classes, and all mapped ones.

python -m jobs.predict lite
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import ray

from jobs.command import Run, main, say
from jobs.sink import TableSink
from lib import storage, tables
from lib.features import vector_column
from lib.maps import AffineMap
from lib.networks import Classifier
from lib.predictions import Predict


def predict(run: Run) -> int:
    """Make the missing prediction tables of all compositions C_B(F_B) and C_B(M_{A->B} F_A)."""
    own = [(name, name) for name in run.experiment.networks]
    return sum(predict_composition(run, source, target) for source, target in [*own, *run.experiment.pairs()])


def predict_composition(run: Run, source: str, target: str) -> int:
    folder = run.path("predictions", f"{source}-to-{target}")
    features = run.path("features", "val")
    product = tables.Product(
        manifest=storage.join(folder, "manifest.json"), data=(folder,), made_from=made_from(run, source, target)
    )
    if not product.begin(run.overwrite):
        say("predict", f"{source} -> {target} is finished, skipped")
        return 0
    for file in storage.files_below(folder, ".parquet"):  # of an interrupted run: faster done again than matched
        storage.resolve(folder)[0].delete_file(file)
    classifier = Classifier.load(run.path("classifiers", f"{target}.safetensors"))
    map_ = None if source == target else AffineMap.load(run.path("maps", f"{source}-to-{target}.safetensors"))
    # Tasks, not actors: workers that have imported torch once serve all compositions.
    read_vectors(features, source, target).map_batches(
        Predict(source, target, classifier, map_), batch_format="pyarrow", batch_size=1024, num_cpus=1
    ).write_datasink(
        TableSink(folder, "part", run.experiment.extract.rows_per_file), ray_remote_args={"num_cpus": 0.25}
    )
    schema = tables.PREDICTIONS if map_ is None else tables.MAPPED_PREDICTIONS
    rows = len(tables.read_rows(folder, schema))
    product.finish(rows, schema)
    say("predict", f"{source} -> {target}: {rows} images")
    return 1


def made_from(run: Run, source: str, target: str) -> dict[str, Any]:
    features = run.path("features", "val")
    made = {"source": tables.features_digest(features, source), "target": tables.features_digest(features, target)}
    if source != target:
        manifest = storage.read_json(run.path("maps", f"{source}-to-{target}.manifest.json"))
        made["map"] = tables.digest(manifest["made_from"])
    return made


def read_vectors(features: str, source: str, target: str) -> ray.data.Dataset:
    """The evaluation split's columns of both networks: streamed from one table, or matched by image_id from two."""
    networks = list(dict.fromkeys([source, target]))
    folders = {tables.find_pass(features, network) for network in networks}
    if len(folders) == 1:
        filesystem, files = tables.parquet_files(folders.pop())
        return ray.data.read_parquet(files, filesystem=filesystem, columns=["image_id", "label", *networks])
    found = tables.read_features(features, networks)
    columns = {network: vector_column(vectors) for network, vectors in found.vectors.items()}
    labels = pa.array(found.label, pa.int32(), mask=found.label < 0)
    table = pa.table({"image_id": pa.array(found.image_id, pa.string()), "label": labels, **columns})
    return ray.data.from_arrow([table.slice(start, 1024) for start in range(0, len(table), 1024)])


if __name__ == "__main__":
    main(predict, __doc__)
