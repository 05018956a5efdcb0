"""The heat map of losses, sources by targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.typing import ColorType

from lib.report.drawing import plain_name

COLOUR_MAP = "RdBu_r"  # blue for gains, red for losses: eyes that confuse red and green tell these apart
OWN, DIAGONAL, CHANCE = "#e4e4e2", "#a8a8a4", "#4d4d4d"
CELL, SMALL_CELL, WIDTH = 0.62, 0.12, 8.0  # inches: cells with words, cells without at least, all of those together
WORDED = 16  # networks at most whose cells have words
Pair = tuple[str, str]  # source and target


def measures(networks: Sequence[str]) -> tuple[float, float, float]:
    """Return a cell's side, inches, the size of names, points, and the length of the longest name, inches."""
    n = len(networks)
    cell = CELL if n <= WORDED else max(SMALL_CELL, WIDTH / n)
    size = min(10.0, 50 * cell)
    return cell, size, 0.085 * max(map(len, networks)) * size / 10


def name_cells(axes: Axes, networks: Sequence[str], middles: np.ndarray) -> None:
    """Write the networks' names beside rows and columns, whose middles (n,) are given; long names are turned."""
    cell, size, longest = measures(networks)
    names = [plain_name(name) for name in networks]
    turned = 0 if longest < cell else 45 if len(networks) <= WORDED else 90
    axes.set_xticks(middles, names, rotation=turned, ha="right" if turned == 45 else "center", fontsize=size)
    axes.set_yticks(middles, names, fontsize=size)
    axes.tick_params(length=0)


def draw_losses(
    order: Sequence[str], loss: Mapping[Pair, float], own: Mapping[str, str], significant: set[Pair], chance: set[Pair]
) -> Figure:
    """Draw the loss of each (source, target): a row for each source, a column for each target, both in `order`.

    The diagonal shows `own`, a text for each network. `significant` pairs get a star. Pairs that may be `chance` say
    so, are grey, and do not stretch the colours. White is 0. Cells of more than WORDED networks are colours alone.
    """
    n = len(order)
    cell, _, longest = measures(order)
    figure = Figure(figsize=(cell * n + longest + 0.6, cell * n + min(longest, 2) + 0.6), layout="constrained")
    axes = figure.subplots()
    limit = max((abs(points) for pair, points in loss.items() if pair not in chance), default=0) or 1
    colours = {pair: CHANCE if pair in chance else _colour(points / limit) for pair, points in loss.items()}
    if n > WORDED:
        _draw_pixels(figure, axes, order, colours, limit)
    for row, source in enumerate(order if n <= WORDED else []):
        for column, target in enumerate(order):
            pair = (source, target)
            if source == target:
                _cell(axes, row, column, OWN, own.get(source, ""))
            elif pair in loss:
                star = "*" if pair in significant else ""
                words = f"{loss[pair]:z.1f}{star}" + ("\nchance?" if pair in chance else "")
                _cell(axes, row, column, colours[pair], words, "bold" if star and pair not in chance else "normal")
    name_cells(axes, order, np.arange(n) + 0.5)
    axes.set(xlim=(0, n), ylim=(n, 0), aspect="equal", xlabel="classifier of", ylabel="features from")
    axes.spines[:].set_visible(False)
    axes.patch.set_gid("cells")  # the page finds the cell of a click by it
    return figure


def _draw_pixels(
    figure: Figure, axes: Axes, order: Sequence[str], colours: Mapping[Pair, ColorType], limit: float
) -> None:
    """Draw all cells as one picture, with a bar that tells the colours' losses."""
    n = len(order)
    pixels = [
        [to_rgb(DIAGONAL if source == target else colours.get((source, target), "white")) for target in order]
        for source in order
    ]
    axes.imshow(pixels, extent=(0, n, n, 0), interpolation="nearest")
    shades = ListedColormap([_colour(share) for share in np.linspace(-1, 1, 255)])
    bar = figure.colorbar(ScalarMappable(Normalize(-limit, limit), shades), ax=axes, shrink=0.5, aspect=30, pad=0.01)
    bar.set_label("loss, points")


def _colour(share: float) -> ColorType:
    """Return the colour of a loss, as its share of the greatest one."""
    return colormaps[COLOUR_MAP](0.5 + 0.42 * min(1, max(-1, share)))


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
