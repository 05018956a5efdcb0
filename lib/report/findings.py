"""All that a report shows: results.json and the tables beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.errors import DamagedFile, TableError
from lib.evaluation.result_tables import CLASSES, DIRECTIONS, EXAMPLES, MAPS, RETRIEVAL, SUBSETS, THUMBNAILS
from lib.evaluation.results import (
    ClassCounts,
    Example,
    FeatureMappingResults,
    MappingResults,
    MapResults,
    Results,
    StageTiming,
)
from lib.experiment.layout import Layout
from lib.experiment.variants import MapKey, Variant
from lib.maps.curves import read_curve
from lib.storage.files import is_file, read_json
from lib.storage.manifests import read_records
from lib.storage.parquet import read_table
from lib.storage.records import Records, read_recorded

FEW = 6  # networks: a page shows everything about each of their pairs beside each other
Curve = tuple[np.ndarray, np.ndarray]  # iterations and errors, (n,) each


@dataclass(frozen=True)
class Findings:
    """Results, with the tables of maps, classes and examples, and error curves that are read when they are needed."""

    results: Results
    maps: pa.Table  # MAPS, of the pairs whose target has a classifier
    examples: pa.Table  # EXAMPLES
    thumbnails: Mapping[str, bytes | None]  # image_id -> JPEG; None if the image can't be read any more
    classes: Callable[[str], pa.Table]  # target -> CLASSES
    curve: Callable[[str, str], Curve | None]  # source, target -> curve of the main map; None if it has none
    timings: Mapping[str, StageTiming] = field(default_factory=dict)  # by stage; none if nobody timed them
    subsets: pa.Table = field(default_factory=SUBSETS.empty_table)  # draws of training rows
    bands: pa.Table = field(default_factory=DIRECTIONS.empty_table)  # of principal directions
    retrieval: pa.Table = field(default_factory=RETRIEVAL.empty_table)
    names: Mapping[str, str] = field(default_factory=dict)  # of networks in files and addresses, by their titles

    @classmethod
    def read(cls, files: Layout) -> Findings:
        """Read what `python -m jobs.evaluate` wrote.

        Raises TableError if an earlier version wrote it, and DamagedFile if it is not what was written.
        """
        records = read_records(files.results_manifest)
        results = read_results(files, records)
        if files.maps_table not in records and not is_file(files.maps_table):
            raise TableError(
                f"{files.results} is of an earlier version, which wrote no {files.maps_table}. Run `python -m "
                f"jobs.pipeline` for the experiment {results['experiment']!r} again: extraction and fits by Adam are "
                "kept, the rest is made anew"
            )

        def table(uri: str, schema: pa.Schema) -> pa.Table:
            """Return one of the tables beside results.json."""
            return read_table(uri, schema, records.get(uri))

        pictures = table(files.thumbnails, THUMBNAILS).to_pylist()
        return cls(
            results,
            with_accuracy(table(files.maps_table, MAPS)),
            table(files.examples, EXAMPLES),
            {row["image_id"]: row["jpeg"] for row in pictures},
            lambda target: table(files.classes_of(target), CLASSES),
            lambda source, target: read_error_curve(files, source, target),
            read_json(files.timings) if is_file(files.timings) else {},
            table(files.subsets, SUBSETS) if files.subsets in records else SUBSETS.empty_table(),
            table(files.directions, DIRECTIONS) if files.directions in records else DIRECTIONS.empty_table(),
            table(files.retrieval, RETRIEVAL) if files.retrieval in records else RETRIEVAL.empty_table(),
        )

    def name(self, network: str) -> str:
        """Return a network's name in files and addresses, where its title would not do."""
        return self.names.get(network, network)

    @property
    def few(self) -> bool:
        """Whether the networks are so few that everything about each pair is shown."""
        return len(self.results["networks"]) <= FEW

    @cached_property
    def rows(self) -> list[MapResults]:
        """Every map of every pair. For few networks."""
        rows: list[MapResults] = self.with_classifiers(self.maps)
        return rows

    def with_classifiers(self, table: pa.Table) -> list[Any]:
        """Return a table's rows about directions, each with where the target's classifier comes from."""
        origin = {name: network.get("classifier") for name, network in self.results["networks"].items()}
        return [{**row, "classifier": origin[row["target"]]} for row in table.to_pylist()]

    @property
    def families(self) -> list[MapResults]:
        """The full maps of each pair besides its main one, family after family."""
        mains = {(row["source"], row["target"], row["family"]) for row in self.results["mappings"]}
        full = [row for row in self.rows if row["variant"] == Variant(row["family"]).name]
        others = [row for row in full if (row["source"], row["target"], row["family"]) not in mains]
        order = list(dict.fromkeys(row["family"] for row in others))
        return sorted(others, key=lambda row: order.index(row["family"]))

    @property
    def ranks(self) -> list[MapResults]:
        """The maps of low rank."""
        return [row for row in self.rows if row["rank"] is not None]

    @property
    def learning_curve(self) -> list[MapResults]:
        """The least-squares maps from a part of the training rows and from all, the smallest part first."""
        of_rows = [row for row in self.rows if row["family"] == "least_squares" and row["rank"] is None]
        return sorted(of_rows, key=lambda row: row["share"]) if any(row["share"] < 1 for row in of_rows) else []

    def seeds(self, source: str, target: str) -> list[MapResults]:
        """Return the maps of one pair that differ in their seed alone."""
        pair = (source, target)
        return [row for row in self.rows if (row["source"], row["target"]) == pair and row["seed"] is not None]

    def class_counts(self, source: str, target: str) -> list[ClassCounts]:
        """Return one pair's counts by class, the greatest loss first."""
        table = self.classes(target)
        rows: list[ClassCounts] = table.filter(pc.equal(table["source"], source)).to_pylist()
        return rows

    def examples_of(self, source: str, target: str) -> list[Example]:
        """Return the images that one pair's mapping fixed or broke."""
        chosen = pc.and_(pc.equal(self.examples["source"], source), pc.equal(self.examples["target"], target))
        rows: list[Example] = self.examples.filter(chosen).to_pylist()
        return rows


def all_mappings(results: Results) -> list[MappingResults | FeatureMappingResults]:
    """Return the main map of every pair, whether its target has a classifier or not."""
    return [*results["mappings"], *results.get("feature_mappings", [])]


def read_results(files: Layout, records: Records | None = None) -> Results:
    """Read results.json, checked against its manifest, whose `records` may be known.

    Raises DamagedFile if it is not what was written.
    """
    recorded = read_records(files.results_manifest) if records is None else records
    data = read_recorded(files.results, recorded.get(files.results))
    try:
        results: Results = json.loads(data)
    except ValueError as error:
        raise DamagedFile(files.results, f"it is no JSON ({error})") from error
    return results


def with_accuracy(maps: pa.Table) -> pa.Table:
    """Return the rows of a MAPS table about targets that have a classifier."""
    return maps.filter(pc.is_valid(maps["accuracy"]))


def read_error_curve(files: Layout, source: str, target: str) -> Curve | None:
    """Read iterations and errors, (n,) each, of the map fitted by Adam; None if there is none."""
    name = MapKey(source, target, Variant("affine")).name
    file = files.curve(name)
    if not is_file(file):
        return None
    table = read_curve(file, read_records(files.map_manifest(name)).get(file))
    return table["iteration"].to_numpy(), table["error"].to_numpy()
