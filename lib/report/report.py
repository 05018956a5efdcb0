"""The files of a report: results and error curves -> figures, Table 1 and one HTML page."""

from __future__ import annotations

from collections.abc import Mapping

from lib.experiment.layout import Layout
from lib.report.blocks import Note, Section, VerdictText
from lib.report.citations import citations_section
from lib.report.controls import controls_section, variance_section
from lib.report.curves import COLOURS, errors_section, learning_curve_section, ranks_section, seeds_section
from lib.report.directions import directions_section
from lib.report.drawing import to_png, to_svg
from lib.report.families import families_section
from lib.report.feature_maps import features_section
from lib.report.figures import draw_figures
from lib.report.findings import FEW, Findings
from lib.report.likeness import agreement_section, measures_section
from lib.report.lookups import lookups_section
from lib.report.losses import losses_section
from lib.report.many import sections_of_many
from lib.report.page import render_page
from lib.report.pair_numbers import pair_numbers
from lib.report.principal_directions import directions_r2_section
from lib.report.provenance import images_section, networks_section, settings_section, timings_section, versions_section
from lib.report.sets import sets_markdown, sets_section
from lib.report.table1 import table1_markdown, table1_section
from lib.report.titles import experiment_title, titled_findings
from lib.report.verdict import question, verdict
from lib.storage.files import write_bytes
from lib.storage.records import FileRecord

NAMED = 12  # networks that the page's first lines name


def write_report(findings: Findings, files: Layout) -> dict[str, FileRecord]:
    """Write report.html, table1.md, and the figures as SVG and PNG, and return what is to be recorded of them."""
    findings = titled_findings(findings)
    drawn = draw_figures(findings)
    vectors = {name: to_svg(figure, f"f{place}") for place, (name, figure) in enumerate(drawn.items())}
    contents = {
        files.report: report_html(findings, vectors).encode(),
        files.table1: f"{table1_markdown(findings.results)}\n{sets_markdown(findings.results)}".encode(),
    }
    for name, figure in drawn.items():
        contents |= {files.figure(f"{name}.svg"): vectors[name].encode(), files.figure(f"{name}.png"): to_png(figure)}
    for uri, data in contents.items():
        write_bytes(uri, data)
    return {uri: FileRecord.of(data) for uri, data in contents.items()}


def report_html(findings: Findings, drawn: Mapping[str, str]) -> str:
    """Return the whole page. `drawn` has the <svg> of each figure by its file name."""
    results = findings.results
    title = f"{question(results)} {experiment_title(results)}"
    names = list(results["networks"])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    lead = (
        f"Networks: {', '.join(names[:NAMED])}{more}. A map from one network's features to another's is fitted without "
        "labels; the other's untouched classifier then works on the mapped features."
    )
    sections = [
        *(sections_of_few(findings, drawn) if findings.few else sections_of_many(findings, drawn)),
        features_section(results, drawn.get("features")),
        networks_section(results),
        images_section(results),
        timings_section(findings.timings),
        settings_section(results),
        versions_section(results),
        citations_section(),
    ]
    found = [section for section in sections if section is not None]
    numbers = "" if findings.few or not results["mappings"] else pair_numbers(findings)
    return render_page(title, [Note(lead), VerdictText(verdict(results))], found, numbers)


def sections_of_few(findings: Findings, drawn: Mapping[str, str]) -> list[Section | None]:
    """Return the sections that answer the question for few networks: everything about each pair."""
    results = findings.results
    return [
        table1_section(results) if results["mappings"] else None,
        sets_section(results, drawn, FEW),
        losses_section(findings, drawn.get("losses")),
        controls_section(results),
        variance_section(results),
        families_section(findings),
        errors_section(drawn.get("error_curves")),
        directions_section(findings, drawn) if results["mappings"] else None,
        ranks_section(findings, drawn.get("ranks")),
        learning_curve_section(findings, drawn.get("learning_curve")),
        lookups_section(findings.retrieval),
        directions_r2_section(findings.bands, drawn.get("principal_directions"), COLOURS),
        agreement_section(results),
        measures_section(results),
        seeds_section(findings),
    ]
