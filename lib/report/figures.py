"""Every figure of a report that the results have numbers for, by file name."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from lib.evaluation.chance import shows
from lib.evaluation.results import MapResults, Results
from lib.report.cells import direction, fitted
from lib.report.directions import region_figure
from lib.report.drawing import direction_styles, network_colours
from lib.report.error_curves import draw_error_curves
from lib.report.feature_maps import draw_skills, shows_features, skills
from lib.report.findings import Curve, Findings
from lib.report.heat_map import draw_losses
from lib.report.loss_lines import Line, draw_loss_lines
from lib.report.losses import MATRIX, chance_pairs
from lib.report.region_diagram import draw_regions


def draw_figures(findings: Findings) -> dict[str, Figure]:
    """Draw the figures: the paper's for each pair of few networks, the matrix of losses alone for many."""
    results = findings.results
    drawn = {"losses": draw_heat_map(results)} if len(results["networks"]) >= MATRIX and results["mappings"] else {}
    if shows_features(results):
        drawn["features"] = draw_skills(list(results["networks"]), skills(results))
    if not findings.few:
        return drawn
    colours = network_colours(list(results["networks"]))
    pairs = direction_styles(list(results["networks"]))
    styles = {direction(mapping): pairs[mapping["source"], mapping["target"]] for mapping in results["mappings"]}
    drawn["error_curves"] = draw_error_curves(all_curves(findings), styles=styles)
    if findings.ranks:
        drawn["ranks"] = draw_loss_lines(rank_lines(findings.ranks), "rank k of the map", styles)
    if findings.learning_curve:
        drawn["learning_curve"] = draw_loss_lines(
            learning_curve_lines(findings.learning_curve), "training images", styles
        )
    for mapping in results["mappings"]:
        source, target = mapping["source"], mapping["target"]
        file = region_figure(findings.name(source), findings.name(target))
        drawn[file] = draw_regions(mapping["regions"], source, target, (colours[target], colours[source]))
    return drawn


def all_curves(findings: Findings) -> dict[str, Curve]:
    """Return the error curve of each direction whose main map has one, by its title."""
    found = {
        direction(mapping): findings.curve(mapping["source"], mapping["target"])
        for mapping in findings.results["mappings"]
        if mapping["family"] == "affine"
    }
    return {title: curve for title, curve in found.items() if curve is not None}


def draw_heat_map(results: Results) -> Figure:
    """Draw the losses of all directions, similar networks beside each other."""
    mappings = {(mapping["source"], mapping["target"]): mapping for mapping in results["mappings"]}
    return draw_losses(
        results.get("order") or list(results["networks"]),
        {pair: mapping["loss"] for pair, mapping in mappings.items()},
        {
            name: f"{100 * network['accuracy']:.1f} %" + ("\nprobe" if fitted(network) else "")
            for name, network in results["networks"].items()
            if "accuracy" in network
        },
        {pair for pair, mapping in mappings.items() if shows(mapping.get("p_holm"))},
        chance_pairs(results),
    )


def rank_lines(entries: Sequence[MapResults]) -> dict[str, Line]:
    """Return the loss of each direction by ascending rank."""
    lines: dict[str, Line] = {}
    known = [(entry, entry["rank"]) for entry in entries if entry["rank"] is not None]
    for entry, rank in sorted(known, key=lambda found: found[1]):
        ranks, losses = lines.setdefault(direction(entry), ([], []))
        ranks.append(rank)
        losses.append(entry["loss"])
    return lines


def learning_curve_lines(entries: Sequence[MapResults]) -> dict[str, Line]:
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
