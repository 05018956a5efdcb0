"""The paper's figures: the error curves (Fig. 4), the overlap of what each composition gets right (Fig. 5)."""

from __future__ import annotations

import io
import re
import warnings
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib_venn import venn3
from matplotlib_venn._region import VennRegionException

from lib.regions import REGIONS

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito: told apart by all eyes
# Dashes tell lines of one colour apart: solid, dashed, dotted, dash-dotted, then longer ones without end.
DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
POINTS, ALL_POINTS = 4000, 40_000  # drawn of a curve and of all curves, at the most
INSIDE = 6  # lines whose names find room inside the axes
INNERMOST, TENTH = REGIONS[0], 0.1
SETS = ("target", "source", "mapped")
# matplotlib-venn's names of the regions: "101" is in the first and the third set.
PLACES = {name: "".join(str(int(member in name.split("+"))) for member in SETS) for name in REGIONS[:-1]}

Curve = tuple[np.ndarray, np.ndarray]  # iterations and errors, (n,) each


def error_curves(curves: dict[str, Curve], last: int | None = 10_000) -> Figure:
    """Fig. 4: E of each training batch, by iteration, up to iteration `last` (None: to the end), a line per direction.

    Of curves with more than POINTS batches every k-th is drawn, one k for all of them, which the axis then says.
    """
    shown = {
        name: (iterations, errors) if last is None else (iterations[iterations <= last], errors[iterations <= last])
        for name, (iterations, errors) in curves.items()
    }
    figure, axes = line_axes(list(shown))
    longest = max((len(errors) for _, errors in shown.values()), default=0)
    every = max(1, -(-longest // min(POINTS, ALL_POINTS // max(1, len(shown)))))
    for k, (name, (iterations, errors)) in enumerate(shown.items()):
        axes.plot(iterations[::every], errors[::every], label=plain(name), linewidth=0.7, **line_style(k))
    axes.set_xlabel("iteration" if every == 1 else f"iteration (one batch in {every} is drawn)")
    axes.set_ylabel("error E of the training batch")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    name_lines(figure, axes)
    return figure


def line_axes(names: list[str]) -> tuple[Figure, Axes]:
    """Axes for lines of these names, and below them room for the names where they are many."""
    below = 0.19 * -(-len(names) // _columns(names)) if len(names) > INSIDE else 0
    figure = Figure(figsize=(5.8, 3.6 + below), layout="constrained")
    axes = figure.subplots()
    axes.tick_params(labelsize=9)
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def line_style(k: int) -> dict[str, Any]:
    """Colour and dashes of the k-th line: no two lines have both the same."""
    row = k // len(COLOURS)
    dashes = DASHES[row] if row < len(DASHES) else (0, (row + 4, 2, 1, 2, 1, 2))
    return {"color": COLOURS[k % len(COLOURS)], "linestyle": dashes}


def name_lines(figure: Figure, axes: Axes) -> None:
    """The legend: inside the axes for few lines, below them for many."""
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
            fontsize=7.5,
            handlelength=3.5,
        )
    else:
        legend = axes.legend(frameon=False, fontsize=9, handlelength=3)
    for line in legend.get_lines():
        line.set_linewidth(2)  # a colour is hard to tell on a hair


def _columns(names: list[str]) -> int:
    """How many names find room beside each other."""
    return max(1, min(3, 84 // (7 + max(map(len, names)))))


def plain(name: str) -> str:
    """A name that matplotlib draws as it is: no formula between dollars, and in legends also with a "_" before it."""
    return ("\u200b" if name.startswith("_") else "") + name.replace("$", r"\$")


def region_diagram(regions: dict[str, int], source: str, target: str) -> Figure:
    """Fig. 5 for one direction: three circles, the innermost region counted at a tenth where it is most of all.

    Three circles have too few degrees of freedom for seven areas: their sizes and overlaps of two are to scale, the
    regions roughly, and of some counts not even that. A note says which; the numbers are always the counts themselves.
    """
    # Fixed places, and a picture cut to what is drawn: a layout made to fit would shrink the circles for long names.
    figure = Figure(figsize=(5, 5))
    axes = figure.add_axes((0.05, 0.26, 0.9, 0.72))
    axes.set_axis_off()
    union = sum(count for name, count in regions.items() if name != "none")
    tenth = regions[INNERMOST] > union / 2
    areas = {name: regions[name] * (TENTH if tenth and name == INNERMOST else 1) for name in REGIONS[:-1]}
    S, T = plain(source), plain(target)
    labels = (f"{T}\n→ {T}", f"{S}\n→ {S}", f"{S} →\n{T} (mapped)")
    notes = [f"None of the three right: {regions['none']:,} of {sum(regions.values()):,} images."]
    if union and _draw_to_scale(axes, areas, regions, labels):
        if tenth:
            notes.append("The innermost region is drawn at a tenth of its size.")
        notes.append("Circles and overlaps of two are to scale, smaller parts roughly.")
    elif union:
        axes.clear()
        axes.set_axis_off()
        _write_counts(venn3((1,) * 7, labels, COLOURS[:3], alpha=0.45, ax=axes), regions)
        notes.append("Not to scale: circles can't show these overlaps.")
    figure.text(0.5, 0.12, "\n".join(notes), ha="center", va="top", fontsize=9)
    return figure


def _draw_to_scale(axes: Axes, areas: dict[str, float], regions: dict[str, int], labels: tuple[str, str, str]) -> bool:
    """Whether circles exist that have these areas and overlaps, and a place for each count."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            venn = venn3({PLACES[name]: area for name, area in areas.items()}, labels, COLOURS[:3], alpha=0.45, ax=axes)
        except VennRegionException:  # such as a circle inside another one
            return False
    if any("Bad circle positioning" in str(warning.message) for warning in caught):
        return False
    if not all(_lies_in(venn, place) for name, place in PLACES.items() if regions[name]):
        return False
    _write_counts(venn, regions)
    for label, members in zip(venn.set_labels, SETS, strict=True):
        if label is not None and not any(areas[name] for name in areas if members in name.split("+")):
            label.set_text("")  # no circle, so no name for one: the three would lie on each other
    return True


def _lies_in(venn: Any, place: str) -> bool:
    """Whether the region has a number, and it stands there: of nested circles matplotlib-venn puts some next door."""
    label = venn.get_label_by_id(place)
    if label is None:
        return False
    x, y = label.get_position()
    circles = zip(venn.centers, venn.radii, strict=True)
    inside = "".join(str(int((x - centre.x) ** 2 + (y - centre.y) ** 2 <= radius**2)) for centre, radius in circles)
    return inside == place


def _write_counts(venn: Any, regions: dict[str, int]) -> None:
    """The true counts into the regions, in smaller figures where there is little room."""
    union = sum(regions[name] for name in PLACES)
    for name, place in PLACES.items():
        label = venn.get_label_by_id(place)
        if label is not None:
            label.set_text(f"{regions[name]:,}" if regions[name] else "")
            label.set_fontsize(10 if regions[name] > 0.01 * union else 8)


def svg(figure: Figure, prefix: str) -> str:
    """An <svg> element to stand in a page: the same for the same figure, its ids begin with `prefix`."""
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": prefix, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(
            file,
            format="svg",
            bbox_inches="tight",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    text = file.getvalue()
    element = text[text.index("<svg") :].strip()
    return re.sub(r'(id="|href="#|url\(#)', rf"\1{prefix}-", element)


def png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=160, bbox_inches="tight", metadata={"Software": None})
    return file.getvalue()
