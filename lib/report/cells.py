"""One number as the text of a table's cell, and such tables as Markdown for a terminal."""

from __future__ import annotations

from math import isnan
from typing import Any

Row = tuple[str, ...]


def number(value: float | None, decimals: int) -> str:
    """Blank for what isn't there, which results.json holds as null or NaN; no -0.00."""
    return "" if value is None or isnan(value) else f"{value:z,.{decimals}f}"


def percent(counted: dict[str, Any]) -> str:
    """The accuracy of something with "accuracy" (0 to 1) and "total"."""
    return f"{100 * counted['accuracy']:.{percent_digits(counted)}f}"


def percent_digits(counted: dict[str, Any]) -> int:
    """Decimals of a percent that tell one image more from one image less."""
    return 3 if counted["total"] >= 10_000 else 2


def loss_points(counted: dict[str, Any]) -> str:
    """The loss of something with "loss" (points) and "total"."""
    return f"{counted['loss']:z.{percent_digits(counted)}f}"


def right_of(counted: dict[str, Any]) -> str:
    return f"{counted['correct']:,} of {counted['total']:,}"


def interval(ends: list[float]) -> str:
    return f"{ends[0]:.2f} to {ends[1]:.2f}"


def probability(p: float | None) -> str:
    return "< 0.0001" if p is not None and p < 0.0001 else number(p, 4)


def direction(mapping: dict[str, Any]) -> str:
    return f"{mapping['source']} → {mapping['target']}"


def markdown(header: Row, body: list[Row]) -> str:
    """A Markdown table, its columns aligned for a terminal."""
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in [header, *body]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)
