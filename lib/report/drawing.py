"""What all figures share: colours, line styles, legends, and export to SVG and PNG."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.report.hover import with_values

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito: told apart by all eyes
# Dashes tell lines of one colour apart: solid, dashed, dotted, dash-dotted, then longer ones without end.
DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
MIXED = "#777777"  # what belongs to two networks: a classifier with mapped features
INSIDE = 6  # lines whose names find room inside the axes


def line_axes(names: list[str]) -> tuple[Figure, Axes]:
    """Return axes for lines of these names, with room below them if the names are many."""
    below = 0.22 * -(-len(names) // _columns(names)) if len(names) > INSIDE else 0
    figure = Figure(figsize=(5.8, 3.7 + below), layout="constrained")
    axes = figure.subplots()
    axes.tick_params(labelsize=11)
    axes.xaxis.label.set_fontsize(12)
    axes.yaxis.label.set_fontsize(12)
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def line_style(k: int) -> dict[str, Any]:
    """Return colour and dashes of the k-th line. No two lines have both in common."""
    row = k // len(COLOURS)
    dashes = DASHES[row] if row < len(DASHES) else (0, (row + 4, 2, 1, 2, 1, 2))
    return {"color": COLOURS[k % len(COLOURS)], "linestyle": dashes}


def network_colours(networks: Sequence[str]) -> dict[str, str]:
    """Return the colour that each network has in all figures of a report: by its place in the experiment."""
    return {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(networks)}


def direction_styles(networks: Sequence[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the style of each direction's line: the target's colour, and dashes that the source has in all lines."""
    colours, place = network_colours(networks), {name: k for k, name in enumerate(networks)}
    return {
        (source, target): {"color": colours[target], "linestyle": line_style(len(COLOURS) * place[source])["linestyle"]}
        for source, target in permutations(networks, 2)
    }


def name_lines(figure: Figure, axes: Axes) -> None:
    """Add the legend: inside the axes for few lines, below them for many."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    if len(labels) > INSIDE:
        legend = figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=_columns(labels),
            frameon=False,
            fontsize=9,
            handlelength=3.5,
        )
    else:
        legend = axes.legend(frameon=False, fontsize=10.5, handlelength=3)
    for line in legend.get_lines():
        line.set_linewidth(2)  # a colour is hard to tell on a hair


def _columns(names: list[str]) -> int:
    """Return how many names have room beside each other."""
    return max(1, min(3, 72 // (7 + max(map(len, names)))))


def plain_name(name: str) -> str:
    """Return a name that matplotlib draws as it is: no formula between dollars, and in legends also with a "_" before
    it.
    """
    return ("\u200b" if name.startswith("_") else "") + name.replace("$", r"\$")


def to_svg(figure: Figure, prefix: str) -> str:
    """Return an <svg> element for a page. It is the same for the same figure, and its ids begin with `prefix`."""
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": prefix, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(
            file,
            format="svg",
            bbox_inches="tight",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    text = file.getvalue()
    element = with_values(text[text.index("<svg") :].strip())
    return re.sub(r'(id="|href="#|url\(#)', rf"\1{prefix}-", element)


def to_png(figure: Figure) -> bytes:
    """Return the figure as a PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=160, bbox_inches="tight", metadata={"Software": None})
    return file.getvalue()
