"""One number as the text of a table's cell, and tables of such cells as Markdown for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

from lib.evaluation.results import BriefMapping, Counted, Pair, Results

Row = tuple[str, ...]
PROBE = " (probe)"
GAP = 2  # spaces between two columns on a terminal

NAMED = 6  # networks, or directions, that a sentence names


def number(value: float | None, decimals: int) -> str:
    """Return the number, or blank if there is none, which results.json holds as null or NaN. -0.00 becomes 0.00."""
    return "" if value is None or isnan(value) else f"{value:z,.{decimals}f}"


def percent(counted: Counted) -> str:
    """Return an accuracy in percent, blank for a network without a classifier."""
    if "accuracy" not in counted:
        return ""
    return f"{100 * counted['accuracy']:.{percent_digits(counted['total'])}f}"


def percent_digits(total: int) -> int:
    """Return the decimals of a percent that tell one image more from one image less."""
    return 3 if total >= 10_000 else 2


def loss_points(mapping: BriefMapping) -> str:
    """Return a loss in points of accuracy."""
    return f"{mapping['loss']:z.{percent_digits(mapping['total'])}f}"


def right_of(counted: Counted) -> str:
    """Return how many images are right of how many, blank for a network without a classifier."""
    if "correct" not in counted:
        return ""
    return f"{counted['correct']:,} of {counted['total']:,}"


def interval(ends: Sequence[float]) -> str:
    """Return an interval of losses, in points."""
    return f"{ends[0]:.2f} to {ends[1]:.2f}"


def probability(p: float | None) -> str:
    """Return a p-value, or blank if there is none."""
    return "< 0.0001" if p is not None and p < 0.0001 else number(p, 4)


def margin_words(results: Results) -> str:
    """Return the margin of equivalence in words, such as "1 point"."""
    margin = results["settings"].get("evaluate", {}).get("margin", 1.0)
    return f"{margin:g} point{'' if margin == 1 else 's'}"


def direction(pair: Pair) -> str:
    """Return the title of a direction. A classifier that was fitted with labels says so."""
    return f"{pair['source']} → {pair['target']}{fitted(pair)}"


def fitted(described: Mapping[str, Any]) -> str:
    """Return what stands behind the name of a network whose classifier was fitted with labels."""
    return PROBE if described.get("classifier") == "probe" else ""


def plain(header: Row, body: Sequence[Row], width: int) -> str:
    """Return an aligned table for a terminal of this width. Columns on the right that have no room are left out."""
    rows = [header, *body]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    shown = 1
    while shown < len(widths) and sum(widths[: shown + 1]) + GAP * shown <= width:
        shown += 1
    lines = [
        (" " * GAP)
        .join(cell.rjust(room) if column else cell.ljust(room) for column, (cell, room) in enumerate(cells))
        .rstrip()
        for cells in (list(zip(row, widths, strict=True))[:shown] for row in rows)
    ]
    lines.insert(1, "-" * (sum(widths[:shown]) + GAP * (shown - 1)))
    return "\n".join(lines)


def markdown(header: Row, body: Sequence[Row]) -> str:
    """Return a Markdown table with aligned columns."""
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in [header, *body]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)


def named(names: list[str]) -> str:
    """Return the names, or the first NAMED of them and how many more there are."""
    rest = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{rest}"
