"""What each target's classifier makes of its own and of all mapped features: a Ray task joins and counts for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray

from jobs.cluster.progress import wait_for
from jobs.cluster.runs import Run
from lib.evaluation.cka import Directions
from lib.evaluation.classes import count_by_class
from lib.evaluation.examples import pick_examples
from lib.evaluation.joining import Judged, Reference, judge_pair
from lib.evaluation.judging import (
    Mapped,
    counted,
    evaluate_map,
    feature_mapping,
    main_feature_mapping,
    main_mapping,
)
from lib.evaluation.prediction_tables import PREDICTIONS, mapped_schema, read_predicted
from lib.evaluation.result_tables import CLASSES, EXAMPLES, MAPS
from lib.evaluation.results import Counted, Example, FeatureMappingResults, MappingResults
from lib.experiment.layout import Layout, pair_name
from lib.experiment.settings import Experiment
from lib.experiment.variants import Variant, curve_variants, full_variants, main_variant
from lib.images.labels import class_names
from lib.images.tables import ListingTable
from lib.storage.parquet import write_table
from lib.storage.records import FileRecord

Pair = tuple[str, str]


@dataclass(frozen=True)
class MappedTable:
    """A table of predictions with mapped features: of one pair and some kinds of map."""

    source: str
    target: str
    folder: str
    maps: tuple[Mapped, ...]


@dataclass(frozen=True)
class TargetResults:
    """What is counted of one target's classifier, fed by itself and by all others."""

    own: Counted | None  # None without a classifier, as are then the mappings
    mappings: list[MappingResults]
    feature_mappings: list[FeatureMappingResults]  # if there is no classifier
    maps: pa.Table  # MAPS, not yet corrected
    examples: pa.Table  # EXAMPLES
    classes: FileRecord  # of the table of the results by class


def mapped_tables(run: Run, sizes: Mapping[str, int], manifests: Mapping[str, dict[str, Any]]) -> list[MappedTable]:
    """Return the prediction tables of all pairs, that with the full maps of each first, with what manifests say."""
    fit = run.experiment.fit
    found = []
    for source, target in run.experiment.pairs():
        for folder, variants in (
            (run.files.predictions(source, target), full_variants(run.experiment, source, target)),
            (run.files.curve_predictions(source, target), curve_variants(fit, min(sizes[source], sizes[target]))),
        ):
            if not variants:
                continue
            described = manifests[folder]["maps"]
            maps = tuple(mapped_of(variant, described[variant.column]) for variant in variants)
            found.append(MappedTable(source, target, folder, maps))
    return found


def described_maps(
    run: Run, sizes: Mapping[str, int], manifests: Mapping[str, dict[str, Any]]
) -> dict[Pair, dict[str, dict[str, Any]]]:
    """Return for each pair what manifests say of its maps, by variant: those of low rank and of few rows first."""
    found: dict[Pair, dict[str, dict[str, Any]]] = {}
    for table in reversed(mapped_tables(run, sizes, manifests)):
        theirs = found.setdefault((table.source, table.target), {})
        theirs |= {of.variant.name: manifests[table.folder]["maps"][of.variant.column] for of in table.maps}
    return found


def mapped_of(variant: Variant, described: Mapping[str, Any]) -> Mapped:
    """Return a map with what a manifest says of it."""
    return Mapped(variant, described.get("fit_error"), described.get("training_rows"), described.get("curve"))


def count_targets(
    run: Run, tables: Sequence[MappedTable], directions: Mapping[str, Directions]
) -> dict[str, TargetResults]:
    """Return what is counted of each target, in a task for each."""
    by_target: dict[str, list[MappedTable]] = {network: [] for network in run.experiment.networks}
    for table in tables:
        by_target[table.target].append(table)
    tasks = [
        count.remote(run.files, run.experiment, theirs, target, directions[target])
        for target, theirs in by_target.items()
    ]
    return dict(zip(by_target, wait_for("evaluate", "networks", tasks), strict=True))


@ray.remote(num_cpus=1)
def count(
    files: Layout, experiment: Experiment, tables: Sequence[MappedTable], target: str, directions: Directions
) -> TargetResults:
    """Join the predictions of one target's classifier, pair by pair, count, and pick images to show: the final task.

    Write the results by class.
    """
    listed = ListingTable.open(files.images("val"))
    names = class_names(experiment.images) if listed is None else listed.classes
    reference = Reference(pair_name(target, target), read_predicted(files.predictions(target, target), PREDICTIONS))
    by_source: dict[str, list[MappedTable]] = {}
    for table in tables:
        by_source.setdefault(table.source, []).append(table)
    found = TargetCounts([], [], [], [], [CLASSES.empty_table()])
    for source, theirs in by_source.items():
        pair = (source, target)
        own = (pair_name(source, source), read_predicted(files.predictions(source, source), PREDICTIONS))
        mapped = [
            (pair_name(*pair), read_predicted(table.folder, mapped_schema(of.variant.column for of in table.maps)))
            for table in theirs
        ]
        judged = judge_pair(reference, own, mapped)
        maps = [of for table in theirs for of in table.maps]
        if reference.answers:
            count_mappings(experiment, pair, judged, maps, directions, names, found)
        else:
            rows = [feature_mapping(pair, judged, of, directions) for of in maps]
            variant = main_variant(experiment)
            curve = next(of.curve for of in maps if of.variant == variant)
            found.feature_mappings.append(main_feature_mapping(variant, rows, curve))
            found.maps.extend(rows)
    by_class = write_table(files.classes_of(target), pa.concat_tables(found.classes))
    labelled = reference.own.drop_null()
    return TargetResults(
        counted(labelled["predicted"].to_numpy() == labelled["label"].to_numpy()) if reference.answers else None,
        found.mappings,
        found.feature_mappings,
        pa.Table.from_pylist(found.maps, schema=MAPS),
        pa.Table.from_pylist(found.examples, schema=EXAMPLES),
        FileRecord.of(by_class),
    )


@dataclass(frozen=True)
class TargetCounts:
    """What is counted of one target so far, source after source."""

    mappings: list[MappingResults]
    feature_mappings: list[FeatureMappingResults]
    maps: list[Any]  # rows of MAPS
    examples: list[Example]
    classes: list[pa.Table]


def count_mappings(
    experiment: Experiment,
    pair: Pair,
    judged: Judged,
    maps: Sequence[Mapped],
    directions: Directions,
    names: list[str] | None,
    into: TargetCounts,
) -> None:
    """Count what one pair's maps get right with the target's classifier."""
    evaluated, variant = experiment.evaluate, main_variant(experiment)
    rows = [evaluate_map(pair, judged, of, directions, evaluated.margin) for of in maps]
    answers = judged.mapped[variant.column]
    mapping = main_mapping(judged, variant, rows, next(of.curve for of in maps if of.variant == variant))
    if experiment.networks[pair[1]].classifier != "own":
        mapping["classifier"] = experiment.networks[pair[1]].classifier
    into.mappings.append(mapping)
    into.maps.extend(rows)
    into.examples.extend(pick_examples(pair, judged, answers, evaluated.examples, experiment.seed, names))
    right = judged.right(judged.target), judged.right(answers)
    into.classes.append(count_by_class(pair, judged.label, *right, names))
