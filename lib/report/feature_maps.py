"""The page's part about pairs whose target has no classifier: how well mapped features meet the target's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from lib.evaluation.results import Results
from lib.report.blocks import Block, FigureBlock, Note, Section, Table
from lib.report.cells import direction, number
from lib.report.findings import all_mappings
from lib.report.heat_map import WORDED, measures, name_cells

MATRIX = 3  # networks from which a heat map says more than a table
LISTED = 400  # directions at most that stand in the table
READING = "a row is the network that gives its features, a column the network whose features they are mapped to."
Pair = tuple[str, str]


def shows_features(results: Results) -> bool:
    """Return whether there is a heat map of how well features meet."""
    return bool(results.get("feature_mappings")) and len(results["networks"]) >= MATRIX


def skills(results: Results) -> dict[Pair, float]:
    """Return the skill of each (source, target)'s main map, where it is known."""
    found = {(mapping["source"], mapping["target"]): mapping["skill"] for mapping in all_mappings(results)}
    return {pair: skill for pair, skill in found.items() if skill is not None}


def features_section(results: Results, svg: str | None) -> Section | None:
    """Return the heat map `svg` of skills, if there is one, and a table; None if all targets have classifiers."""
    if not results.get("feature_mappings"):
        return None
    text = (
        "Some targets have no classifier, so that mapped features are only compared with the target's own. Skill: 1 is "
        "a perfect map, 0 is as good as always answering the target's mean direction. E: 0 where both point alike."
    )
    blocks: list[Block] = [Note(text)]
    if svg is not None:
        blocks.append(FigureBlock(svg, "Skill of the row's features, mapped to the column's.", READING, shrink=0.7))
    rows = [
        (
            *(direction(mapping), number(mapping["validation_error"], 4), number(mapping["skill"], 4)),
            *(number(mapping["cosine"], 4), number(mapping["r2"], 4), number(mapping["length_ratio"], 3)),
        )
        for mapping in results["feature_mappings"][:LISTED]
    ]
    header = ("direction", "E", "skill", "cosine", "R²", "length ratio")
    blocks.append(Table(header, rows, "Directions to networks without a classifier."))
    if len(results["feature_mappings"]) > LISTED:
        more = len(results["feature_mappings"]) - LISTED
        blocks.append(Note(f"The other {more:,} are in results.json, as feature_mappings."))
    return Section("features", "How well features meet", blocks)


def draw_skills(networks: Sequence[str], skill: Mapping[Pair, float]) -> Figure:
    """Draw the skill of each (source, target): a row for each source, a column for each target."""
    n = len(networks)
    cell, _, longest = measures(networks)
    figure = Figure(figsize=(cell * n + longest + 1.2, cell * n + min(longest, 2) + 0.6), layout="constrained")
    axes = figure.subplots()
    values = np.array([[skill.get((source, target), np.nan) for target in networks] for source in networks])
    shades = colormaps["cividis"].with_extremes(bad="#e4e4e2")
    picture = axes.imshow(values, cmap=shades, vmin=0, vmax=1, interpolation="nearest")
    for row, column in np.argwhere(np.isfinite(values)) if n <= WORDED else ():
        ink = "black" if values[row, column] > 0.55 else "white"
        axes.text(column, row, f"{values[row, column]:z.2f}", color=ink, ha="center", va="center", fontsize=8)
    name_cells(axes, networks, np.arange(n))
    axes.set(xlabel="features of", ylabel="features from")
    axes.spines[:].set_visible(False)
    figure.colorbar(picture, ax=axes, shrink=0.6, label="skill")
    return figure
