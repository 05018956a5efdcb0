"""The paper's Fig. 5: the overlap of what three compositions get right, as circles."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib_venn import venn3
from matplotlib_venn._region import VennRegionException  # private: what venn3 raises has no public name

from lib.evaluation.regions import REGIONS
from lib.report.drawing import COLOURS, MIXED, plain_name
from lib.report.hover import tell

INNERMOST, TENTH = REGIONS[0], 0.1
SETS = ("target", "source", "mapped")
# matplotlib-venn's names of the regions: "101" is in the first and the third set.
PLACES = {name: "".join(str(int(member in name.split("+"))) for member in SETS) for name in REGIONS[:-1]}


class Circle(Protocol):
    """The centre of a circle."""

    x: float
    y: float


class Venn(Protocol):
    """What venn3 returns, as far as it is used here; matplotlib-venn has no public name for it."""

    centers: Sequence[Circle]
    radii: Sequence[float]
    set_labels: Sequence[Text | None]

    def get_label_by_id(self, id: str) -> Text | None:
        """Return the text of a region, None if it has none."""

    def get_patch_by_id(self, id: str) -> Patch | None:
        """Return the area of a region, None if it has none."""


@dataclass(frozen=True)
class Look:
    """Names and colours of target, source and mapped."""

    labels: tuple[str, str, str]
    colours: tuple[str, str, str]


def draw_regions(
    regions: dict[str, int], source: str, target: str, colours: tuple[str, str] = (COLOURS[0], COLOURS[1])
) -> Figure:
    """Draw Fig. 5 for one direction: three circles. The innermost region is drawn at a tenth if it is most of all.

    `colours` are those of target and source. Regions tell who is right when they are pointed at.

    Three circles have too few degrees of freedom for seven areas. Their sizes and overlaps of two are to scale; the
    regions are roughly so, and for some counts not even that. A note says which. The numbers are always the counts
    themselves.
    """
    # Fixed places, and a picture cut to what is drawn: a layout made to fit would shrink the circles for long names.
    figure = Figure(figsize=(5, 5))
    axes = figure.add_axes((0.05, 0.26, 0.9, 0.72))
    axes.set_axis_off()
    union = sum(count for name, count in regions.items() if name != "none")
    tenth = regions[INNERMOST] > union / 2
    areas = {name: regions[name] * (TENTH if tenth and name == INNERMOST else 1) for name in REGIONS[:-1]}
    S, T = plain_name(source), plain_name(target)
    labels = (f"{T}\n→ {T}", f"{S}\n→ {S}", f"{S} →\n{T} (mapped)")
    notes = [f"None of the three right: {regions['none']:,} of {sum(regions.values()):,} images."]
    look = Look(labels, (*colours, MIXED))
    if union and _draw_to_scale(axes, areas, regions, look):
        if tenth:
            notes.append("The innermost region is drawn at a tenth of its size.")
        notes.append("Circles and overlaps of two are to scale, smaller parts roughly.")
    elif union:
        axes.clear()
        axes.set_axis_off()
        _write_counts(venn3((1,) * 7, labels, look.colours, alpha=0.45, ax=axes), regions, labels)
        notes.append("Not to scale: circles can't show these overlaps.")
    figure.text(0.5, 0.12, "\n".join(notes), ha="center", va="top", fontsize=10)
    return figure


def _draw_to_scale(axes: Axes, areas: dict[str, float], regions: dict[str, int], look: Look) -> bool:
    """Draw circles with these areas and overlaps and a place for each count. Return whether such circles exist."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            sizes = {PLACES[name]: area for name, area in areas.items()}
            venn = venn3(sizes, look.labels, look.colours, alpha=0.45, ax=axes)
        except VennRegionException:  # such as a circle inside another one
            return False
    if any("Bad circle positioning" in str(warning.message) for warning in caught):
        return False
    if not all(_lies_in(venn, place) for name, place in PLACES.items() if regions[name]):
        return False
    _write_counts(venn, regions, look.labels)
    for label, members in zip(venn.set_labels, SETS, strict=True):
        if label is not None and not any(areas[name] for name in areas if members in name.split("+")):
            label.set_text("")  # no circle, so no name for one: the three would lie on each other
    return True


def _lies_in(venn: Venn, place: str) -> bool:
    """Return whether the region has a number that stands in it.

    In nested circles, matplotlib-venn puts some numbers next door.
    """
    label = venn.get_label_by_id(place)
    if label is None:
        return False
    x, y = label.get_position()
    circles = zip(venn.centers, venn.radii, strict=True)
    inside = "".join(str(int((x - centre.x) ** 2 + (y - centre.y) ** 2 <= radius**2)) for centre, radius in circles)
    return inside == place


def _write_counts(venn: Venn, regions: dict[str, int], labels: tuple[str, str, str]) -> None:
    """Write the true counts into the regions, smaller where there is little room."""
    titles = dict(zip(SETS, (label.replace("\n", " ") for label in labels), strict=True))
    union = sum(regions[name] for name in PLACES)
    for name, place in PLACES.items():
        label = venn.get_label_by_id(place)
        if label is not None:
            label.set_text(f"{regions[name]:,}" if regions[name] else "")
            label.set_fontsize(11 if regions[name] > 0.01 * union else 8)
        patch = venn.get_patch_by_id(place)
        if patch is not None:
            who = " and ".join(titles[member] for member in name.split("+"))
            tell(patch, [f"{who}: {regions[name]:,} images"])
