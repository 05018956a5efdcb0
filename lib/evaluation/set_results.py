"""What results.json says of one evaluation set, from what is counted of each target there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from lib.evaluation.chance import accuracy_interval
from lib.evaluation.judging import correct_mappings
from lib.evaluation.results import (
    Counted,
    MappedResults,
    MappingResults,
    MapResults,
    Results,
    SetMappingResults,
    SetNetworkResults,
    SetResults,
)
from lib.evaluation.shift import add_shifts, correlate

NOT_MEASURED = ("r2", "skill")  # on val alone


def set_mapping(rows: Sequence[MapResults], variant: str, paired_variance: float | None) -> SetMappingResults:
    """Return a pair's main map on a set, from the results of all its full maps."""
    found = next(row for row in rows if row["variant"] == variant)
    kept: Any = {
        key: value for key, value in found.items() if key in MappedResults.__annotations__ and key not in NOT_MEASURED
    }
    if paired_variance is not None:
        kept["paired_variance"] = paired_variance
    return cast(SetMappingResults, kept)


def set_network(own: Counted) -> SetNetworkResults:
    """Return a network on its own features, on a set."""
    return {**own, "accuracy_ci95": list(accuracy_interval(own["correct"], own["total"]))}


def correct_set(mappings: Sequence[SetMappingResults]) -> None:
    """Add Holm's corrections for all directions on a set, as on val."""
    correct_mappings(cast(Sequence[MappingResults], mappings))


def with_sets(results: Results, sets: Mapping[str, SetResults], seed: int) -> Results:
    """Return results with those of each set, and how they differ from those on val."""
    by_pair = {(row["source"], row["target"]): row for row in results["mappings"]}
    found: dict[str, SetResults] = {}
    for name, one in sets.items():
        mappings = [cast(SetMappingResults, dict(row)) for row in one["mappings"]]
        add_shifts(mappings, by_pair)
        losses = {(row["source"], row["target"]): row["loss"] for row in mappings}
        on_val = {pair: row["loss"] for pair, row in by_pair.items()}
        correlation = correlate(list(one["networks"]), on_val, losses, seed)
        found[name] = {**one, "mappings": mappings, "correlation": correlation}
    kept: Any = {key: value for key, value in results.items() if key != "eval"}
    return cast(Results, {**kept, "eval": found} if found else kept)
