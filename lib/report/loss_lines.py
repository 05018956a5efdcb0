"""Lines of the loss against something that grows by factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil, floor, log2
from typing import Any

from matplotlib.figure import Figure

from lib.report.drawing import line_axes, line_style, name_lines, plain_name
from lib.report.hover import tell

TICKS, ROOM = 8, 45  # on an axis: how many ticks at the most, how many characters stand beside each other
Line = tuple[list[int], list[float]]  # x and the loss in points


def draw_loss_lines(
    lines: Mapping[str, Line],
    xlabel: str,
    styles: Mapping[str, dict[str, Any]] | None = None,
    draws: Mapping[str, Sequence[Sequence[float]]] | None = None,
) -> Figure:
    """Draw the loss against numbers that grow by factors: a line with a point at each number, on a log2 axis.

    `styles` has a style for each name; without it, lines are told apart by their order. `draws` has the losses of
    several draws at the first points of a line: a band goes from the least to the most. Points tell their values.
    """
    figure, axes = line_axes(list(lines))
    axes.axhline(0, color="#555555", linewidth=0.8)
    for k, (name, (x, loss)) in enumerate(lines.items()):
        style = (styles or {}).get(name) or line_style(k)
        axes.plot(x, loss, label=plain_name(name), linewidth=1.3, marker="o", markersize=3, **style)
        several = (draws or {}).get(name, [])
        if several:
            lowest, highest = [min(found) for found in several], [max(found) for found in several]
            axes.fill_between(x[: len(several)], lowest, highest, color=style["color"], alpha=0.15, linewidth=0)
        (markers,) = axes.plot(x, loss, "o", markersize=9, alpha=0)
        tell(
            markers, [f"{name}: {points:z.2f} points at {at:,} ({xlabel})" for at, points in zip(x, loss, strict=True)]
        )
    axes.set_xscale("log", base=2)
    ticks = _ticks({value for x, _ in lines.values() for value in x})
    labels = [f"{tick:,}" for tick in ticks]
    crowded = sum(map(len, labels)) > ROOM
    axes.set_xticks(ticks, labels, rotation=30 if crowded else 0, ha="right" if crowded else "center")
    axes.minorticks_off()
    axes.set_xlabel(xlabel)
    axes.set_ylabel("loss, points")
    name_lines(figure, axes)
    return figure


def _ticks(values: set[int]) -> list[int]:
    """Return the values themselves if they are few and stand apart, else powers of 2."""
    ascending = sorted(values)
    apart = all(high / low >= 1.5 for low, high in pairwise(ascending))
    if len(ascending) <= TICKS and apart:
        return ascending
    low, high = floor(log2(ascending[0])), ceil(log2(ascending[-1]))
    return [2**k for k in range(low, high + 1, -(-(high - low + 1) // TICKS))]
