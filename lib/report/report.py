"""The files of a report: results.json and error curves -> figures, Table 1 and one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lib.evaluation.results import Results, ShownExample
from lib.experiment.layout import Layout
from lib.report.blocks import FigureBlock, Note, Section, VerdictText
from lib.report.curves import learning_curve_section, ranks_section, seeds_section
from lib.report.directions import directions_section
from lib.report.drawing import to_png, to_svg
from lib.report.error_curves import Curve
from lib.report.families import families_section
from lib.report.figures import draw_figures
from lib.report.likeness import agreement_section, measures_section
from lib.report.losses import losses_section
from lib.report.page import render_page
from lib.report.provenance import images_section, settings_section, versions_section
from lib.report.table1 import table1_markdown, table1_section
from lib.report.verdict import verdict
from lib.storage.files import write_bytes


def write_report(
    results: Results, curves: Mapping[str, Curve], files: Layout, examples: Sequence[ShownExample] = ()
) -> None:
    """Write report.html, table1.md, and the figures as SVG and PNG.

    `curves` are the error curves of each direction by its title. `examples` are images that a mapping fixed or broke.
    """
    drawn = draw_figures(results, curves)
    vectors = {name: to_svg(figure, f"f{place}") for place, (name, figure) in enumerate(drawn.items())}
    write_bytes(files.report, report_html(results, vectors, examples).encode())
    write_bytes(files.table1, f"{table1_markdown(results)}\n".encode())
    for name, figure in drawn.items():
        write_bytes(files.figure(f"{name}.svg"), vectors[name].encode())
        write_bytes(files.figure(f"{name}.png"), to_png(figure))


def report_html(results: Results, drawn: Mapping[str, str], examples: Sequence[ShownExample] = ()) -> str:
    """Return the whole page. `drawn` has the <svg> of each figure by its file name."""
    title = f"How far can one network stand in for another? Experiment {results['experiment']}"
    lead = (
        f"Networks: {', '.join(results['networks'])}. A map from one network's features to another's is fitted without "
        "labels; the other's untouched classifier then works on the mapped features."
    )
    batches = "Error E = |x/|x| - y/|y||² of each batch while the maps are fitted, of the first 10,000 at most."
    sections = [
        table1_section(results),
        losses_section(results, drawn.get("losses")),
        families_section(results),
        Section("curves", "Fig. 4: error of the training batches", [FigureBlock(drawn["error_curves"], batches)]),
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
    found = [section for section in sections if section is not None]
    return render_page(title, [Note(lead), VerdictText(verdict(results))], found)
