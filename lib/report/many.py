"""The page of many networks: the matrix, what each gives and takes, and a browser of all directions."""

from __future__ import annotations

from collections.abc import Mapping

from lib.report.blocks import Note, PairBrowser, Section, Table
from lib.report.findings import FEW, Findings
from lib.report.losses import losses_section
from lib.report.sets import sets_section
from lib.report.table1 import ENDS, ends_rows


def sections_of_many(findings: Findings, drawn: Mapping[str, str]) -> list[Section | None]:
    """Return the sections that answer the question. `drawn` has the <svg> of each figure by its file name."""
    if not findings.results["mappings"]:
        return []
    return [
        losses_section(findings, drawn.get("losses")),
        ends_section(findings),
        sets_section(findings.results, drawn, FEW),
        pairs_section(findings),
    ]


def ends_section(findings: Findings) -> Section:
    """Return the directions at both ends of the range of losses, which print and read without a script."""
    header, ends = ends_rows(findings.results)
    count = len(findings.results["mappings"])
    caption = f"The {ENDS} directions with the least loss, and the {ENDS} with the most, of {count:,}."
    note = "All directions: below, in table1.md, and with every number in results.json and maps.parquet."
    return Section("table1", "Table 1: both ends", [Note(note), Table(header, ends, caption)])


def pairs_section(findings: Findings) -> Section:
    """Return all directions, which the page's script draws."""
    count = len(findings.results["mappings"])
    text = f"The page's script shows all {count:,} directions here. Without it, they are in table1.md and maps.parquet."
    return Section("directions", "All directions", [PairBrowser(text)])
