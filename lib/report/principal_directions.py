"""Which part of the target's feature space a map reaches: R² by principal direction, as a figure and a table."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import pyarrow as pa
from matplotlib.figure import Figure

from lib.report.blocks import FigureBlock, Folded, Section, Table
from lib.report.cells import direction, number
from lib.report.drawing import line_axes, name_lines, plain_name
from lib.report.hover import tell

LOWEST = -1.0  # R² at which a line leaves the figure below
READ = (
    "the share of the target's features that mapped features meet, from the direction with the most variance, at the "
    "left, to those with the least: 1 is all of it, 0 no more than the mean."
)


def directions_r2_section(bands: pa.Table, svg: str | None, colours: str) -> Section | None:
    """Return R² by band of principal directions; None without a figure. `colours` says what lines' colours mean."""
    if svg is None:
        return None
    caption = (
        "R² of the mapped features in bands of the target's principal directions, on evaluation images. What is below "
        "-1 stands at -1."
    )
    header = ("direction", "principal directions", "share of the variance", "R²")
    rows = [
        (direction(row), f"{row['first']:,} to {row['last']:,}", number(row["variance"], 4), number(row["r2"], 3))
        for row in bands.to_pylist()
    ]
    numbers = Folded("The numbers", Table(header, rows, caption))
    return Section(
        "principal", "Which part of the features is shared", [FigureBlock(svg, caption, READ + colours), numbers]
    )


def draw_directions_r2(bands: pa.Table, styles: Mapping[str, dict[str, Any]]) -> Figure:
    """Draw R² against the last principal direction of each band, a line for each direction of the experiment."""
    lines = {name: list(rows) for name, rows in groupby(bands.to_pylist(), direction)}
    figure, axes = line_axes(list(lines))
    axes.axhline(0, color="#555555", linewidth=0.8)
    for name, rows in lines.items():
        x, r2 = [row["last"] for row in rows], [max(row["r2"], LOWEST) for row in rows]
        axes.plot(x, r2, label=plain_name(name), linewidth=1.3, marker="o", markersize=3, **styles[name])
        (markers,) = axes.plot(x, r2, "o", markersize=9, alpha=0)
        tell(markers, [f"{name}: R² {row['r2']:.3f} in directions {row['first']:,} to {row['last']:,}" for row in rows])
    axes.set_xscale("log", base=2)
    ticks = sorted({row["last"] for rows in lines.values() for row in rows})
    axes.set_xticks([tick for tick in ticks if tick & (tick - 1) == 0], minor=False)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.minorticks_off()
    axes.set_ylim(LOWEST - 0.05, 1.05)
    axes.set_xlabel("principal direction of the target's features, last of its band")
    axes.set_ylabel("R²")
    name_lines(figure, axes)
    return figure
