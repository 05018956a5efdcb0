"""The heat map of losses, sources by targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.typing import ColorType

from lib.report.drawing import plain_name

COLOUR_MAP = "RdBu_r"  # blue for gains, red for losses: eyes that confuse red and green tell these apart
OWN, CHANCE = "#e4e4e2", "#4d4d4d"
CELL = 0.62  # inches
Pair = tuple[str, str]  # source and target


def draw_losses(
    order: Sequence[str], loss: Mapping[Pair, float], own: Mapping[str, str], significant: set[Pair], chance: set[Pair]
) -> Figure:
    """Draw the loss of each (source, target): a row for each source, a column for each target, both in `order`.

    The diagonal shows `own`, a text for each network. `significant` pairs get a star. Pairs at `chance` say so, are
    grey, and do not stretch the colours. White is 0.
    """
    n = len(order)
    longest = 0.085 * max(map(len, order))
    figure = Figure(figsize=(CELL * n + longest + 0.6, CELL * n + min(longest, 2) + 0.6), layout="constrained")
    axes = figure.subplots()
    limit = max((abs(points) for pair, points in loss.items() if pair not in chance), default=0) or 1
    for row, source in enumerate(order):
        for column, target in enumerate(order):
            pair = (source, target)
            if source == target:
                _cell(axes, row, column, OWN, own.get(source, ""))
            elif pair in loss:
                star = "*" if pair in significant else ""
                colour: ColorType = colormaps[COLOUR_MAP](0.5 + 0.42 * min(1, max(-1, loss[pair] / limit)))
                words = f"{loss[pair]:z.1f}{star}"
                if pair in chance:
                    colour, words = CHANCE, f"{words}\nat chance"
                _cell(axes, row, column, colour, words, "bold" if star else "normal")
    names = [plain_name(name) for name in order]
    axes.set_xticks(np.arange(n) + 0.5, names, rotation=0 if longest < CELL else 45, ha=_side(longest))
    axes.set_yticks(np.arange(n) + 0.5, names)
    axes.tick_params(length=0)
    axes.set(xlim=(0, n), ylim=(n, 0), aspect="equal", xlabel="classifier of", ylabel="features from")
    axes.spines[:].set_visible(False)
    return figure


def _side(longest: float) -> str:
    return "center" if longest < CELL else "right"


def _cell(axes: Axes, row: int, column: int, colour: ColorType, words: str, weight: str = "normal") -> None:
    """Draw one cell with its words."""
    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="white", linewidth=1.5))
    red, green, blue = to_rgb(colour)
    ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
    axes.text(
        column + 0.5,
        row + 0.5,
        words,
        color=ink,
        ha="center",
        va="center",
        fontsize=7 if "\n" in words else 9,
        fontweight=weight,
    )
