"""The loss of each direction on a further evaluation set against its loss on val."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from lib.evaluation.results import SetMappingResults
from lib.report.cells import direction
from lib.report.drawing import COLOURS, line_axes, plain_name
from lib.report.hover import tell

CROSSED = 60  # directions at most whose points have their intervals


def draw_shift(mappings: Sequence[SetMappingResults], title: str) -> Figure:
    """Draw a point for each direction, with its interval on the set, and the line on which both losses are equal.

    Points tell their values. `title` is what the set is called.
    """
    figure, axes = line_axes([])
    x = [mapping["shift"]["val_loss"] for mapping in mappings]
    y = [mapping["loss"] for mapping in mappings]
    if len(mappings) <= CROSSED:
        low, high = ([mapping["loss_ci95"][end] for mapping in mappings] for end in (0, 1))
        axes.vlines(x, low, high, color=COLOURS[0], linewidth=0.8, alpha=0.6)
    (points,) = axes.plot(x, y, "o", color=COLOURS[0], markersize=5, alpha=0.7)
    texts = [
        f"{direction(mapping)}: {there:z.2f} points on {title}, {here:z.2f} on val"
        for mapping, here, there in zip(mappings, x, y, strict=True)
    ]
    tell(points, texts)
    ends = (min(*x, *y), max(*x, *y))
    axes.plot(ends, ends, color="#555555", linewidth=0.9, linestyle="dashed")
    axes.set_xlabel("loss on val, points")
    axes.set_ylabel(f"loss on {plain_name(title)}, points")
    return figure
