"""Judge the same maps on further evaluation sets: a task for each target joins its predictions, and counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from jobs.cluster.damage import search
from jobs.cluster.progress import wait_for
from jobs.cluster.runs import Run, say
from jobs.evaluation.set_labels import right_labels, set_classes
from jobs.evaluation.shared_images import count_shared, refuse_shared
from jobs.evaluation.targets import mapped_of
from lib.errors import TableError
from lib.evaluation.belonging import check_predictions
from lib.evaluation.joining import Judged, Reference, judge_pair
from lib.evaluation.judging import Mapped, correct_maps, counted, evaluate_map
from lib.evaluation.labelling import Labelling
from lib.evaluation.prediction_tables import PREDICTIONS, mapped_schema, read_predicted
from lib.evaluation.result_tables import MAPS
from lib.evaluation.results import Counted, SetMappingResults, SetResults
from lib.evaluation.results_file import write_results
from lib.evaluation.set_results import correct_set, set_mapping, set_network
from lib.evaluation.shift import Changes, paired_variance
from lib.experiment.evaluation_sets import EvaluationSet
from lib.experiment.layout import Layout, manifest_in, pair_name
from lib.experiment.settings import Experiment
from lib.experiment.variants import Variant, full_variants, main_variant
from lib.features.tables import FeatureTables
from lib.images.tables import ListingTable
from lib.storage.manifests import Artifact, begin_all, digest, read_manifests, read_records
from lib.storage.parquet import write_table
from lib.storage.records import FileRecord, read_recorded

MEASURED = 1  # raised when a set's results gain numbers, so that those of earlier versions are made anew

Pair = tuple[str, str]
Manifests = Mapping[str, Mapping[str, Any]]  # of prediction tables, by folder


@dataclass(frozen=True)
class OnSet:
    """What is counted of one target's classifier on a set, fed by itself and by all others."""

    own: Counted
    unlabelled: int
    outside: int
    mappings: list[SetMappingResults]
    maps: pa.Table  # MAPS, not yet corrected


def evaluate_sets(run: Run, by_split: Mapping[str, FeatureTables]) -> tuple[dict[str, str], int]:
    """Evaluate the sets that are not finished. Return a digest of what each is made from, and how many were made.

    A set costs its own evaluation alone: what was measured on val is not looked at again.
    """
    names = run.experiment.images.eval if judged_pairs(run.experiment) else {}
    sets = {name: SetWork.of(run, name, by_split[name]) for name in names}
    artifacts = {
        name: Artifact(
            manifest=run.files.set_manifest(name),
            data=(run.files.set_results(name), run.files.set_maps(name)),
            made_from=work.made_from(by_split),
        )
        for name, work in sets.items()
    }
    missing = begin_all(artifacts, overwrite=True, search=search(run, "evaluate"))
    for name, artifact in missing.items():
        records = sets[name].evaluate(by_split)
        artifact.finish(len(judged_pairs(run.experiment)), records=records)
        say("evaluate", f"{name}: {run.files.set_results(name)} is written")
    return {name: digest(artifact.made_from) for name, artifact in artifacts.items()}, len(missing)


def read_sets(run: Run) -> dict[str, SetResults]:
    """Return what is known of all sets, by name. Raises DamagedFile if a file is not what was written."""
    found = {}
    for name in run.experiment.images.eval if judged_pairs(run.experiment) else ():
        uri = run.files.set_results(name)
        found[name] = json.loads(read_recorded(uri, read_records(run.files.set_manifest(name)).get(uri)))
    return found


def judged_pairs(experiment: Experiment) -> list[Pair]:
    """Return the pairs whose target has a classifier."""
    return [pair for pair in experiment.pairs() if experiment.networks[pair[1]].classifies]


@dataclass(frozen=True)
class SetWork:
    """One set, with what is to be judged on it."""

    files: Layout
    experiment: Experiment
    name: str
    classes: list[int] | None  # labels of the set's classes; None for all
    manifests: Manifests

    @classmethod
    def of(cls, run: Run, name: str, tables: FeatureTables) -> SetWork:
        """Return a set's work. Raises StorageError if predictions are missing, ManifestMismatch if they are stale."""
        pairs = [*((network, network) for network in run.experiment.networks), *judged_pairs(run.experiment)]
        folders = {run.files.predictions(*pair, name): pair for pair in pairs}
        manifests = read_manifests({folder: manifest_in(folder) for folder in folders})
        check_predictions(tables, ((folders[folder], manifest) for folder, manifest in manifests.items()))
        return cls(run.files, run.experiment, name, set_classes(run, name), manifests)

    @property
    def paired(self) -> bool:
        """Whether the set has val's images, under the same ids."""
        return self.experiment.images.same_as_val(self.name)

    def made_from(self, by_split: Mapping[str, FeatureTables]) -> dict[str, Any]:
        """Return what the set's results are made from."""
        networks, settings = list(self.experiment.networks), self.experiment.images.eval[self.name]
        labels = labels_digest.remote(self.files, self.name, settings) if settings.labels is not None else None
        return {
            "predictions": digest({folder: manifest["made_from"] for folder, manifest in self.manifests.items()}),
            "classes": self.classes,
            "restricted": settings.restricted,
            "labels": None if labels is None else ray.get(labels),
            "train": [by_split["train"].digest(network) for network in networks],
            "val": [by_split["val"].digest(network) for network in networks],
            "margin": self.experiment.evaluate.margin,
            "measured": MEASURED,
        }

    def evaluate(self, by_split: Mapping[str, FeatureTables]) -> dict[str, FileRecord]:
        """Write the set's results and its table of maps, and return their records.

        Raises ExperimentError if too many of its images are training images, too.
        """
        networks, tables = list(self.experiment.networks), by_split[self.name]
        with_train = count_shared("evaluate", by_split["train"], tables, networks)
        refuse_shared(with_train, self.experiment.images.max_shared, self.name)
        with_val = count_shared("evaluate", by_split["val"], tables, networks)
        targets = [name for name in networks if self.experiment.networks[name].classifies]
        tasks = [count_on_set.remote(self.of_target(target), target) for target in targets]
        found: dict[str, OnSet] = dict(zip(targets, wait_for("evaluate", self.name, tasks), strict=True))
        by_pair = {(row["source"], row["target"]): row for one in found.values() for row in one.mappings}
        mappings = [by_pair[pair] for pair in judged_pairs(self.experiment)]
        correct_set(mappings)
        first = found[targets[0]]
        results: SetResults = {
            "images": tables.table(networks[0]).manifest["images"],
            "unlabelled": first.unlabelled,
            "outside": first.outside,
            "classes": None if self.classes is None else len(self.classes),
            "restricted": self.experiment.images.eval[self.name].restricted,
            "several_labels": self.experiment.images.eval[self.name].labels is not None,
            "shared_images": with_train.count,
            "shared_with_val": with_val.count,
            "same_images": self.paired,
            "networks": {name: set_network(one.own) for name, one in found.items()},
            "mappings": mappings,
        }
        self.say_left_out(results)
        maps = correct_maps(pa.concat_tables([one.maps for one in found.values()]))
        files = self.files
        return {
            files.set_maps(self.name): FileRecord.of(write_table(files.set_maps(self.name), maps)),
            files.set_results(self.name): FileRecord.of(write_results(files.set_results(self.name), results)),
        }

    def of_target(self, target: str) -> SetWork:
        """Return the same work with what is to be known of one target's predictions alone."""
        sources = [network for network in self.experiment.networks if network != target]
        folders = [self.files.predictions(source, target, self.name) for source in sources]
        return replace(self, manifests={folder: {"maps": self.manifests[folder]["maps"]} for folder in folders})

    def say_left_out(self, results: SetResults) -> None:
        """Say which images are in no count."""
        for count, why in (
            (results["unlabelled"], "no label is right for them"),
            (results["outside"], "they are of no class of the set"),
        ):
            if count:
                say("evaluate", f"{self.name}: {count:,} images are not counted, since {why}")

    def read(self, source: str, target: str, split: str, columns: list[str]) -> tuple[str, pa.Table]:
        """Return the predictions of a composition on a split with the name of its table."""
        schema = mapped_schema(columns) if columns else PREDICTIONS
        name = f"{split}: {pair_name(source, target)}"
        return name, read_predicted(self.files.predictions(source, target, split), schema)

    def maps_of(self, pair: Pair) -> list[Mapped]:
        """Return a pair's full maps, with what the manifest of its predictions says of them."""
        described = self.manifests[self.files.predictions(*pair, self.name)]["maps"]
        return [mapped_of(variant, described[variant.column]) for variant in full_variants(self.experiment, *pair)]


@ray.remote(num_cpus=1)
def labels_digest(files: Layout, name: str, settings: EvaluationSet) -> str:
    """Return the digest of a set's file of right labels."""
    found = right_labels(settings, ListingTable.load(files.images(name)))
    return "" if found is None else found.digest


@ray.remote(num_cpus=1)
def count_on_set(work: SetWork, target: str) -> OnSet:
    """Join the predictions of one target's classifier on a set, pair by pair, and count: the final task.

    Raises TableError if no image is counted.
    """
    settings, table = work.experiment.images.eval[work.name], ListingTable.load(work.files.images(work.name))
    reference = Reference(*work.read(target, target, work.name, []))
    labelling = Labelling.of(reference.own, work.classes, right_labels(settings, table))
    if not labelling.counted.any():
        raise TableError(
            f"{work.name}: no image is counted: {labelling.unlabelled:,} have no right label, {labelling.outside:,} "
            "are of no class of the set"
        )
    main, margin = main_variant(work.experiment), work.experiment.evaluate.margin
    mappings, maps = [], []
    own = Counted(correct=0, total=0, accuracy=0.0)
    for source in (network for network in work.experiment.networks if network != target):
        pair, theirs = (source, target), work.maps_of((source, target))
        mapped = work.read(*pair, work.name, [of.variant.column for of in theirs])
        judged = judge_pair(reference, work.read(source, source, work.name, []), [mapped], labelling)
        rows = [evaluate_map(pair, judged, of, None, margin) for of in theirs]
        variance = None
        if work.paired:
            variance = paired_variance(changes(judged, main), changes(judge_val(work, pair, main), main))
        mappings.append(set_mapping(rows, main.name, variance))
        if work.experiment.networks[target].classifier != "own":
            mappings[-1]["classifier"] = work.experiment.networks[target].classifier
        maps += rows
        own = counted(judged.right(judged.target))
    return OnSet(own, labelling.unlabelled, labelling.outside, mappings, pa.Table.from_pylist(maps, schema=MAPS))


def judge_val(work: SetWork, pair: Pair, main: Variant) -> Judged:
    """Return the answers of a pair's main map on val."""
    source, target = pair
    reference = Reference(*work.read(target, target, "val", []))
    return judge_pair(reference, work.read(source, source, "val", []), [work.read(*pair, "val", [main.column])])


def changes(judged: Judged, main: Variant) -> Changes:
    """Return the images' ids, and which of them the main map broke (1) or fixed (-1)."""
    own, mapped = judged.right(judged.target), judged.right(judged.mapped[main.column])
    return judged.image_id, own.astype(np.int64) - mapped.astype(np.int64)
