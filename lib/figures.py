"""The paper's figures: the error curves (Fig. 4), the overlap of what each composition gets right (Fig. 5)."""

from __future__ import annotations

import io
import re
import warnings

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib_venn import venn3

from lib.regions import REGIONS

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito: told apart by all eyes
POINTS = 4000  # drawn of a curve, at the most
INNERMOST, TENTH = REGIONS[0], 0.1

Curve = tuple[np.ndarray, np.ndarray]  # iterations and errors, (n,) each


def error_curves(curves: dict[str, Curve], last: int = 10_000) -> Figure:
    """Fig. 4: E of each training batch, by iteration, up to iteration `last`, one line for each direction.

    Of a curve with more than POINTS batches every k-th is drawn, which the axis then says.
    """
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    every = 1
    for colour, (name, (iterations, errors)) in zip(_repeated(len(curves)), curves.items(), strict=True):
        shown = iterations <= last
        every = max(1, -(-int(shown.sum()) // POINTS))
        axes.plot(iterations[shown][::every], errors[shown][::every], label=name, color=colour, linewidth=0.7)
    axes.set_xlabel("iteration" if every == 1 else f"iteration (one batch in {every} is drawn)")
    axes.set_ylabel("error E of the training batch")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def _repeated(count: int) -> list[str]:
    return [COLOURS[k % len(COLOURS)] for k in range(count)]


def region_diagram(regions: dict[str, int], source: str, target: str) -> Figure:
    """Fig. 5 for one direction: areas to scale, but for the innermost region, drawn at a tenth where it is most of all.

    Three circles have too few degrees of freedom for seven areas: they come as near as circles can, which a note says.
    The numbers written are always the counts themselves.
    """
    figure = Figure(figsize=(6.4, 5), layout="constrained")
    axes = figure.subplots()
    union = sum(count for name, count in regions.items() if name != "none")
    tenth = regions[INNERMOST] > union / 2
    areas = {name: count * (TENTH if tenth and name == INNERMOST else 1) for name, count in regions.items()}
    labels = (f"{target} → {target}", f"{source} → {source}", f"{source} → {target}\n(mapped)")
    if union:
        _draw_sets(axes, areas, regions, labels)
    axes.set_axis_off()
    notes = [
        f"None of the three right: {regions['none']:,} of {sum(regions.values()):,} images.",
        "Areas are as near to scale as three circles allow" + (", the innermost at a tenth." if tenth else "."),
    ]
    figure.supxlabel("\n".join(notes), fontsize=9)
    return figure


def _draw_sets(
    axes: mpl.axes.Axes, areas: dict[str, float], regions: dict[str, int], labels: tuple[str, str, str]
) -> None:
    members = {"target": "1", "source": "2", "mapped": "3"}
    place = {name: "".join("1" if set_ in name.split("+") else "0" for set_ in members) for name in REGIONS[:-1]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of circles that can't be placed exactly: three rarely can
        venn = venn3({place[name]: areas[name] for name in place}, labels, COLOURS[:3], alpha=0.45, ax=axes)
    for name, identifier in place.items():
        label = venn.get_label_by_id(identifier)
        if label is not None:
            label.set_text(f"{regions[name]:,}" if regions[name] else "")
    # Small regions lie under each other's numbers: write those smaller.
    total = sum(areas.values())
    for name, identifier in place.items():
        label = venn.get_label_by_id(identifier)
        if label is not None:
            label.set_fontsize(10 if areas[name] > 0.04 * total else 7.5)


def svg(figure: Figure, prefix: str) -> str:
    """An <svg> element to stand in a page: the same for the same figure, its ids begin with `prefix`."""
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": prefix, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = file.getvalue()
    element = text[text.index("<svg") :].strip()
    return re.sub(r'(id="|href="#|url\(#)', rf"\1{prefix}-", element)


def png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=160, metadata={"Software": None})
    return file.getvalue()
