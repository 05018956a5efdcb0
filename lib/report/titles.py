"""Findings in a person's own terms: networks are called by their titles wherever the report names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from lib.evaluation.results import Results, SetResults
from lib.experiment.titles import shown_titles
from lib.report.findings import Findings

# Fields that name networks, in the rows of each part of results.json.
NAMING = {"mappings": ("source", "target"), "measures": ("a", "b"), "published": ("features", "classifier")}


def titles_of(results: Results) -> dict[str, str]:
    """Return the title of each network: its name if the experiment gives it none."""
    settings = results["settings"].get("networks", {})
    return shown_titles({name: settings.get(name, {}).get("title") for name in results["networks"]})


def experiment_title(results: Results) -> str:
    """Return what the page calls the experiment."""
    return results["settings"].get("title") or f"Experiment {results['experiment']}"


def titled(results: Results) -> Results:
    """Return results whose networks are called by their titles. Settings stay as they are."""
    return renamed(results, titles_of(results))


def renamed(results: Results, titles: Mapping[str, str]) -> Results:
    """Return results whose networks are called as `titles` says. Settings stay as they are."""
    found: dict[str, Any] = dict(results)
    found["networks"] = {titles[name]: network for name, network in results["networks"].items()}
    for part, fields in NAMING.items():
        found[part] = [renamed_row(row, fields, titles) for row in found.get(part, [])]
    if "feature_mappings" in results:
        both = NAMING["mappings"]
        found["feature_mappings"] = [renamed_row(row, both, titles) for row in results["feature_mappings"]]
    if "eval" in results:
        found["eval"] = {name: titled_set(one, titles) for name, one in results["eval"].items()}
    if "order" in results:
        found["order"] = [titles[name] for name in results["order"]]
    return cast(Results, found)


def titled_set(one: SetResults, titles: Mapping[str, str]) -> dict[str, Any]:
    """Return the results on an evaluation set, whose networks are called by their titles."""
    networks = {titles[name]: network for name, network in one["networks"].items()}
    mappings = [renamed_row(row, NAMING["mappings"], titles) for row in one["mappings"]]
    return {**one, "networks": networks, "mappings": mappings}


def titled_findings(findings: Findings) -> Findings:
    """Return findings whose networks are called by their titles. Tables and curves are found by them, too."""
    titles = titles_of(findings.results)
    names = {title: name for name, title in titles.items()}
    return replace(
        findings,
        results=titled(findings.results),
        maps=renamed_columns(findings.maps, titles),
        examples=renamed_columns(findings.examples, titles),
        subsets=renamed_columns(findings.subsets, titles),
        bands=renamed_columns(findings.bands, titles),
        retrieval=renamed_columns(findings.retrieval, titles),
        classes=lambda target: renamed_columns(findings.classes(names[target]), titles),
        curve=lambda source, target: findings.curve(names[source], names[target]),
        names=names,
    )


def renamed_row(row: Mapping[str, Any], fields: Sequence[str], titles: Mapping[str, str]) -> dict[str, Any]:
    """Return a row with titles in the `fields` that name networks."""
    return {**row, **{field: titles[row[field]] for field in fields}}


def renamed_columns(table: pa.Table, titles: Mapping[str, str]) -> pa.Table:
    """Return a table with titles in its columns `source` and `target`, as far as it has them."""
    for place, name in enumerate(table.column_names):
        if name in ("source", "target"):
            found = pc.index_in(table[name], value_set=pa.array(list(titles), pa.string()))
            table = table.set_column(place, name, pc.take(pa.array(list(titles.values()), pa.string()), found))
    return table
