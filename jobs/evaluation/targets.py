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
from lib.evaluation.joining import Reference, judge_pair
from lib.evaluation.judging import (
    Mapped,
    counted,
    evaluate_map,
    main_mapping,
)
from lib.evaluation.predictions import PREDICTIONS, mapped_schema, read_predicted
from lib.evaluation.result_tables import CLASSES, EXAMPLES, MAPS
from lib.evaluation.results import Counted, MappingResults
from lib.experiment.layout import Layout, pair_name
from lib.experiment.settings import Experiment
from lib.experiment.variants import Variant, curve_variants, full_variants
from lib.images.labels import class_names
from lib.images.tables import ListingTable
from lib.storage.parquet import write_table
from lib.storage.records import FileRecord


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

    own: Counted
    mappings: list[MappingResults]
    maps: pa.Table  # MAPS, not yet corrected
    examples: pa.Table  # EXAMPLES
    classes: FileRecord  # of the table of the results by class


def mapped_tables(run: Run, sizes: Mapping[str, int], manifests: Mapping[str, dict[str, Any]]) -> list[MappedTable]:
    """Return the prediction tables of all pairs, that with the full maps of each first, with what manifests say."""
    fit = run.experiment.fit
    found = []
    for source, target in run.experiment.pairs():
        for folder, variants in (
            (run.files.predictions(source, target), full_variants(fit)),
            (run.files.curve_predictions(source, target), curve_variants(fit, min(sizes[source], sizes[target]))),
        ):
            if not variants:
                continue
            described = manifests[folder]["maps"]
            maps = tuple(mapped_of(variant, described[variant.column]) for variant in variants)
            found.append(MappedTable(source, target, folder, maps))
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
    mappings, maps, examples, classes = [], [], [], [CLASSES.empty_table()]
    main_variant, evaluated = full_variants(experiment.fit)[0], experiment.evaluate
    for source, theirs in by_source.items():
        pair = (source, target)
        own = (pair_name(source, source), read_predicted(files.predictions(source, source), PREDICTIONS))
        mapped = [
            (pair_name(*pair), read_predicted(found.folder, mapped_schema(of.variant.column for of in found.maps)))
            for found in theirs
        ]
        judged = judge_pair(reference, own, mapped)
        rows = [evaluate_map(pair, judged, of, directions, evaluated.margin) for found in theirs for of in found.maps]
        answers = judged.mapped[main_variant.column]
        curve = next(of.curve for found in theirs for of in found.maps if of.variant == main_variant)
        mappings.append(main_mapping(judged, main_variant, rows, curve))
        maps += rows
        examples += pick_examples(pair, judged, answers, evaluated.examples, experiment.seed, names)
        right = judged.right(judged.target), judged.right(answers)
        classes.append(count_by_class(pair, judged.label, *right, names))
    by_class = write_table(files.classes_of(target), pa.concat_tables(classes))
    labelled = reference.own.drop_null()
    return TargetResults(
        counted(labelled["predicted"].to_numpy() == labelled["label"].to_numpy()),
        mappings,
        pa.Table.from_pylist(maps, schema=MAPS),
        pa.Table.from_pylist(examples, schema=EXAMPLES),
        FileRecord.of(by_class),
    )
