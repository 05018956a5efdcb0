"""Features, maps and classifiers -> prediction tables: each network's own classes, and all mapped ones.

python -m jobs.predict lite
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

import ray

from jobs.cluster.commands import main
from jobs.cluster.runs import Run, say
from lib.evaluation.predictions import MAPPED_PREDICTIONS, PREDICTIONS, Predict
from lib.experiment.layout import Layout, manifest_in
from lib.experiment.variants import by_source, own_name, pair_maps
from lib.features.chunks import Chunk, read_chunk, split_into_chunks
from lib.features.tables import FeatureTables
from lib.maps.affine import AffineMap
from lib.networks.classifiers import Classifier
from lib.storage.files import delete_files, read_json
from lib.storage.manifests import Artifact, digest
from lib.storage.parquet import write_table

ROWS = 4096  # that one task judges, about
TARGETS = 16  # of a source, whose features one task holds at once


@dataclass(frozen=True)
class Composition:
    """C_target on the features of source: its own, or mapped if they are another network's."""

    source: str
    target: str
    name: str  # of the prediction table, and of the map

    @property
    def mapped(self) -> bool:
        """Whether a map stands between source and target."""
        return self.source != self.target


def predict(run: Run) -> int:
    """Make the missing prediction tables, and return how many tables that were.

    A task takes a chunk of rows of one source and some of its targets, so that features are read once for all of them.
    """
    tables = FeatureTables.open(run.files.features("val"))
    missing: dict[Composition, Artifact] = {}
    for source, target in [*((name, name) for name in run.experiment.networks), *run.experiment.pairs()]:
        artifacts = {found: artifact(run, tables, found) for found in compositions(run, tables, source, target)}
        begun = {found: product for found, product in artifacts.items() if product.begin(run.overwrite)}
        for found in begun:  # delete what an interrupted run left
            delete_files(run.files.predictions(found.name), lambda file: file.endswith(".parquet"))
        missing |= begun
    if not missing:
        say("predict", "all predictions are finished, skipped")
        return 0
    tasks = []
    for block in blocks_of(list(missing)):
        networks = list(dict.fromkeys([block[0].source, *(found.target for found in block)]))
        work = split_into_chunks(tables, networks, ROWS)
        tasks += [judge.remote(run.files, block, *numbered) for numbered in enumerate(work)]
    rows: Counter[Composition] = Counter()
    for counted in ray.get(tasks):
        rows.update(counted)
    for found, product in missing.items():
        product.finish(rows[found], MAPPED_PREDICTIONS if found.mapped else PREDICTIONS)
    say("predict", f"{len(missing)} compositions of {max(rows.values())} images")
    return len(missing)


def blocks_of(compositions: Sequence[Composition]) -> Iterator[list[Composition]]:
    """Yield the compositions of one source and TARGETS targets at most."""
    for targets in by_source(compositions).values():
        for first in range(0, len(targets), TARGETS):
            yield list(chain(*targets[first : first + TARGETS]))


def compositions(run: Run, tables: FeatureTables, source: str, target: str) -> list[Composition]:
    """Return a network's own composition, or a composition for each map of the pair."""
    if source == target:
        return [Composition(source, target, own_name(source))]
    keys = pair_maps(run.experiment.fit, source, target, tables.sizes([source, target]))
    return [Composition(source, target, key.name) for key in keys]


def artifact(run: Run, tables: FeatureTables, composition: Composition) -> Artifact:
    """Return a prediction table's manifest, its folder, and what it is made from."""
    made_from: dict[str, Any] = {
        "source": tables.digest(composition.source),
        "target": tables.digest(composition.target),
    }
    if composition.mapped:
        made_from["map"] = digest(read_json(run.files.map_manifest(composition.name))["made_from"])
    folder = run.files.predictions(composition.name)
    return Artifact(manifest_in(folder), (folder,), made_from)


@ray.remote(num_cpus=1)
def judge(files: Layout, compositions: list[Composition], number: int, chunk: Chunk) -> dict[Composition, int]:
    """Write one chunk's part of these prediction tables, which have one source.

    Return how many rows each part has. A repeated task writes the same files.
    """
    rows = read_chunk(chunk)
    for target, alike in groupby(compositions, lambda found: found.target):
        classifier = Classifier.load(files.classifier(target))
        for found in alike:
            map_ = AffineMap.load(files.map(found.name)) if found.mapped else None
            predicted = Predict(found.source, found.target, classifier, map_)(rows)
            write_table(files.prediction_part(found.name, number), predicted)
    return dict.fromkeys(compositions, len(rows))


if __name__ == "__main__":
    main(predict, __doc__)
