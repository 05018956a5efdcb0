"""Every figure of a report that the results have numbers for, by file name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from lib.evaluation.results import LearningCurveResults, RankResults, Results
from lib.report.cells import direction
from lib.report.directions import region_figure
from lib.report.error_curves import Curve, draw_error_curves
from lib.report.heat_map import draw_losses
from lib.report.loss_lines import Line, draw_loss_lines
from lib.report.losses import MATRIX, chance_pairs
from lib.report.region_diagram import draw_regions
from lib.report.verdict import is_significant


def draw_figures(results: Results, curves: Mapping[str, Curve]) -> dict[str, Figure]:
    """Draw the figures. `curves` are the error curves of each direction by its title."""
    drawn = {"error_curves": draw_error_curves(dict(curves))}
    if len(results["networks"]) >= MATRIX:
        drawn["losses"] = draw_heat_map(results)
    if results.get("ranks"):
        drawn["ranks"] = draw_loss_lines(rank_lines(results["ranks"]), "rank k of the map")
    if results.get("learning_curve"):
        drawn["learning_curve"] = draw_loss_lines(learning_curve_lines(results["learning_curve"]), "training images")
    for mapping in results["mappings"]:
        source, target = mapping["source"], mapping["target"]
        drawn[region_figure(source, target)] = draw_regions(mapping["regions"], source, target)
    return drawn


def draw_heat_map(results: Results) -> Figure:
    """Draw the losses of all directions, similar networks beside each other."""
    mappings = {(mapping["source"], mapping["target"]): mapping for mapping in results["mappings"]}
    return draw_losses(
        results.get("order") or list(results["networks"]),
        {pair: mapping["loss"] for pair, mapping in mappings.items()},
        {name: f"{100 * network['accuracy']:.1f} %" for name, network in results["networks"].items()},
        {pair for pair, mapping in mappings.items() if is_significant(mapping)},
        chance_pairs(results),
    )


def rank_lines(entries: Sequence[RankResults]) -> dict[str, Line]:
    """Return the loss of each direction by ascending rank."""
    lines: dict[str, Line] = {}
    for entry in sorted(entries, key=lambda entry: entry["rank"]):
        ranks, losses = lines.setdefault(direction(entry), ([], []))
        ranks.append(entry["rank"])
        losses.append(entry["loss"])
    return lines


def learning_curve_lines(entries: Sequence[LearningCurveResults]) -> dict[str, Line]:
    """Return the loss of each direction, and each kind of map if there are several, by ascending training images."""
    several = len({entry["family"] for entry in entries}) > 1
    known = [(entry, entry["rows"]) for entry in entries if entry["rows"] is not None]
    lines: dict[str, Line] = {}
    for entry, count in sorted(known, key=lambda found: found[1]):
        name = direction(entry) + (f", {entry['family']}" if several else "")
        rows, losses = lines.setdefault(name, ([], []))
        rows.append(count)
        losses.append(entry["loss"])
    return lines
