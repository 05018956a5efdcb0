"""Every figure of a report that the results have numbers for, by file name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from matplotlib.figure import Figure

from lib.evaluation.chance import shows
from lib.evaluation.results import MapResults, Pair, Results
from lib.report.cells import direction, fitted
from lib.report.directions import region_figure
from lib.report.drawing import direction_styles, network_colours
from lib.report.error_curves import draw_error_curves
from lib.report.feature_maps import draw_skills, shows_features, skills
from lib.report.findings import Curve, Findings, all_mappings
from lib.report.heat_map import draw_losses
from lib.report.loss_lines import Line, draw_loss_lines
from lib.report.losses import MATRIX, chance_pairs
from lib.report.principal_directions import draw_directions_r2
from lib.report.region_diagram import draw_regions
from lib.report.sets import set_figure, set_title
from lib.report.shift_figure import draw_shift


def draw_figures(findings: Findings) -> dict[str, Figure]:
    """Draw the figures: the paper's for each pair of few networks, the matrix of losses alone for many."""
    results = findings.results
    drawn = {"losses": draw_heat_map(results)} if len(results["networks"]) >= MATRIX and results["mappings"] else {}
    if shows_features(results):
        drawn["features"] = draw_skills(list(results["networks"]), skills(results))
    if len(results["networks"]) >= MATRIX and results["mappings"]:
        for name, one in results.get("eval", {}).items():
            drawn[set_figure(name)] = draw_shift(one["mappings"], set_title(results, name))
    if not findings.few:
        return drawn
    colours = network_colours(list(results["networks"]))
    pairs = direction_styles(list(results["networks"]))
    styles = {name: pairs[pair] for pair in pairs for name in names_of(results, *pair)}
    curves = all_curves(findings)
    if curves:
        drawn["error_curves"] = draw_error_curves(curves, styles=styles)
    if findings.ranks:
        drawn["ranks"] = draw_loss_lines(rank_lines(findings.ranks), "rank k of the map", styles)
    if findings.learning_curve:
        lines, draws = (
            learning_curve_lines(findings.learning_curve),
            draws_by_direction(findings.with_classifiers(findings.subsets)),
        )
        drawn["learning_curve"] = draw_loss_lines(with_means(lines, draws), "training images", styles, draws)
    if len(findings.bands):
        drawn["principal_directions"] = draw_directions_r2(findings.bands, styles)
    for mapping in results["mappings"]:
        source, target = mapping["source"], mapping["target"]
        file = region_figure(findings.name(source), findings.name(target))
        drawn[file] = draw_regions(mapping["regions"], source, target, (colours[target], colours[source]))
    return drawn


def names_of(results: Results, source: str, target: str) -> tuple[str, str]:
    """Return a direction's title where its numbers are those of features, and of the target's classifier."""
    plain: Pair = {"source": source, "target": target}
    classifier = results["networks"][target].get("classifier")
    return direction(plain), direction(cast(Pair, {**plain, "classifier": classifier}))


def all_curves(findings: Findings) -> dict[str, Curve]:
    """Return the error curve of each direction whose main map has one, by its title."""
    found = {
        direction(mapping): findings.curve(mapping["source"], mapping["target"])
        for mapping in all_mappings(findings.results)
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


def draws_by_direction(subsets: Sequence[Any]) -> dict[str, list[list[float]]]:
    """Return the losses of all draws of the training rows, rows of SUBSETS, share by ascending share, of each
    direction.
    """
    found: dict[str, dict[float, list[float]]] = {}
    for row in sorted(subsets, key=lambda row: row["share"]):
        found.setdefault(direction(row), {}).setdefault(row["share"], []).append(row["loss"])
    return {name: list(shares.values()) for name, shares in found.items()}


def with_means(lines: Mapping[str, Line], draws: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, Line]:
    """Return lines whose first points are the means of their draws. A line without draws stays as it is."""
    found = {}
    for name, (rows, losses) in lines.items():
        means = [sum(theirs) / len(theirs) for theirs in draws.get(name, [])]
        found[name] = (rows, [*means, *losses[len(means) :]])
    return found
