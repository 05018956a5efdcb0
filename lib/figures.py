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
POINTS = 4000  # drawn of a curve, at the most
INNERMOST, TENTH = REGIONS[0], 0.1
SETS = ("target", "source", "mapped")
# matplotlib-venn's names of the regions: "101" is in the first and the third set.
PLACES = {name: "".join(str(int(member in name.split("+"))) for member in SETS) for name in REGIONS[:-1]}

Curve = tuple[np.ndarray, np.ndarray]  # iterations and errors, (n,) each


def error_curves(curves: dict[str, Curve], last: int | None = 10_000) -> Figure:
    """Fig. 4: E of each training batch, by iteration, up to iteration `last` (None: to the end), a line per direction.

    Of curves with more than POINTS batches every k-th is drawn, one k for all of them, which the axis then says.
    """
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    shown = {
        name: (iterations, errors) if last is None else (iterations[iterations <= last], errors[iterations <= last])
        for name, (iterations, errors) in curves.items()
    }
    longest = max((len(errors) for _, errors in shown.values()), default=0)
    every = max(1, -(-longest // POINTS))
    for colour, (name, (iterations, errors)) in zip(_repeated(len(shown)), shown.items(), strict=True):
        axes.plot(iterations[::every], errors[::every], label=name, color=colour, linewidth=0.7)
    axes.set_xlabel("iteration" if every == 1 else f"iteration (one batch in {every} is drawn)")
    axes.set_ylabel("error E of the training batch")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    if shown:
        for line in axes.legend(frameon=False).get_lines():
            line.set_linewidth(2)  # a colour is hard to tell on a hair
    return figure


def _repeated(count: int) -> list[str]:
    return [COLOURS[k % len(COLOURS)] for k in range(count)]


def region_diagram(regions: dict[str, int], source: str, target: str) -> Figure:
    """Fig. 5 for one direction: three circles, the innermost region counted at a tenth where it is most of all.

    Three circles have too few degrees of freedom for seven areas: their sizes and overlaps of two are to scale, the
    regions roughly, and of some counts not even that. A note says which; the numbers are always the counts themselves.
    """
    figure = Figure(figsize=(5, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    union = sum(count for name, count in regions.items() if name != "none")
    tenth = regions[INNERMOST] > union / 2
    areas = {name: regions[name] * (TENTH if tenth and name == INNERMOST else 1) for name in REGIONS[:-1]}
    labels = (f"{target} → {target}", f"{source} → {source}", f"{source} → {target}\n(mapped)")
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
    figure.supxlabel("\n".join(notes), fontsize=9)
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
