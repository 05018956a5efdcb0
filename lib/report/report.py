"""The files of a report: results.json and error curves -> figures and one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from matplotlib.figure import Figure

from lib.report.cells import direction
from lib.report.directions import directions_section, region_figure
from lib.report.drawing import to_png, to_svg
from lib.report.error_curves import Curve, draw_error_curves
from lib.report.heat_map import draw_losses
from lib.report.loss_lines import Line, draw_loss_lines
from lib.report.page import Section, render_figure, render_note, render_page
from lib.report.region_diagram import draw_regions
from lib.report.sections import (
    MATRIX,
    agreement_section,
    chance_pairs,
    families_section,
    images_section,
    learning_curve_section,
    losses_section,
    measures_section,
    ranks_section,
    seeds_section,
    settings_section,
    table1_section,
    versions_section,
)
from lib.report.table1 import Results, table1_markdown, table1_rows
from lib.report.verdict import is_significant, verdict
from lib.storage.files import write_bytes
from lib.storage.uris import join_uri


def report_html(results: Results, drawn: Mapping[str, str], examples: Sequence[dict[str, Any]] = ()) -> str:
    """The whole page. `drawn` maps a figure's file name to its <svg>; examples are as in lib.report.directions."""
    title = f"How far can one network stand in for another? Experiment {results['experiment']}"
    lead = render_note(
        f"Networks: {', '.join(results['networks'])}. A map from one network's features to another's is fitted without "
        "labels; the other's untouched classifier then works on the mapped features."
    )
    batches = "Error E = |x/|x| - y/|y||² of each batch while the maps are fitted, of the first 10,000 at most."
    curves = Section("curves", "Fig. 4: error of the training batches", render_figure(drawn["error_curves"], batches))
    parts = [
        table1_section(*table1_rows(results)),
        losses_section(results, drawn.get("losses")),
        families_section(results),
        curves,
        directions_section(results, drawn, examples),
        ranks_section(results, drawn.get("ranks")),
        learning_curve_section(results, drawn.get("learning_curve")),
        agreement_section(results),
        measures_section(results),
        seeds_section(results),
        images_section(results),
        settings_section(results),
        versions_section(results),
    ]
    lead += f'\n<p class="verdict">{escape(verdict(results))}</p>'
    return render_page(title, lead, [part for part in parts if part is not None])


def draw_figures(results: Results, curves: Mapping[str, Curve]) -> dict[str, Figure]:
    """Every figure that the results have numbers for, by file name."""
    drawn = {"error_curves": draw_error_curves(dict(curves))}
    if len(results["networks"]) >= MATRIX:
        drawn["losses"] = _losses(results)
    for name, x, label in (("ranks", "rank", "rank k of the map"), ("learning_curve", "rows", "training images")):
        if results.get(name):
            drawn[name] = draw_loss_lines(_lines(results[name], x), label)
    for mapping in results["mappings"]:
        source, target = mapping["source"], mapping["target"]
        drawn[region_figure(source, target)] = draw_regions(mapping["regions"], source, target)
    return drawn


def _losses(results: Results) -> Figure:
    mappings = {(mapping["source"], mapping["target"]): mapping for mapping in results["mappings"]}
    return draw_losses(
        results.get("order") or list(results["networks"]),
        {pair: mapping["loss"] for pair, mapping in mappings.items()},
        {name: f"{100 * network['accuracy']:.1f} %" for name, network in results["networks"].items()},
        {pair for pair, mapping in mappings.items() if is_significant(mapping)},
        chance_pairs(results),
    )


def _lines(entries: list[dict[str, Any]], x: str) -> dict[str, Line]:
    """Each direction's (and kind of map's, where there are several) numbers, by ascending `x`."""
    several = len({entry.get("family") for entry in entries}) > 1
    lines: dict[str, Line] = {}
    for entry in sorted(entries, key=lambda entry: int(entry[x])):
        name = direction(entry) + (f", {entry['family']}" if several else "")
        places, losses = lines.setdefault(name, ([], []))
        places.append(entry[x])
        losses.append(entry["loss"])
    return lines


def write_report(
    results: Results,
    curves: Mapping[str, Curve],
    folder: str,
    examples: Sequence[dict[str, Any]] = (),
) -> list[str]:
    """Write report.html, table1.md and the figures as SVG and PNG under `folder`; their URIs.

    `examples`: images that a mapping fixed or broke, each with source, target, kind ("fixed" or "broken"), image_id,
    label, own, mapped (classes), names of these three (or None) and jpeg (bytes).
    """
    drawn = draw_figures(results, curves)
    vectors = {name: to_svg(figure, f"f{place}") for place, (name, figure) in enumerate(drawn.items())}
    files = {"report.html": report_html(results, vectors, examples), "table1.md": table1_markdown(results) + "\n"}
    contents = {name: text.encode() for name, text in files.items()}
    for name, figure in drawn.items():
        contents[f"figures/{name}.svg"] = vectors[name].encode()
        contents[f"figures/{name}.png"] = to_png(figure)
    for name, content in contents.items():
        write_bytes(join_uri(folder, name), content)
    return [join_uri(folder, name) for name in contents]
