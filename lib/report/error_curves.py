"""The paper's Fig. 4: the error of each training batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.report.drawing import line_axes, line_style, name_lines, plain_name
from lib.report.findings import Curve
from lib.report.hover import tell

TOLD = 25  # batches of a curve
POINTS, ALL_POINTS = 4000, 40_000  # drawn of a curve and of all curves, at the most


def draw_error_curves(
    curves: dict[str, Curve], last: int | None = 10_000, styles: Mapping[str, dict[str, Any]] | None = None
) -> Figure:
    """Draw Fig. 4: E of each training batch by iteration, up to iteration `last`, with a line for each direction.

    None draws to the end. If a curve has more than POINTS batches, every k-th batch is drawn, with one k for all
    curves, and the axis says so. `styles` has a style for each name; without it, lines are told apart by their order.
    TOLD batches of a curve tell their values when they are pointed at.
    """
    shown = {
        name: (iterations, errors) if last is None else (iterations[iterations <= last], errors[iterations <= last])
        for name, (iterations, errors) in curves.items()
    }
    figure, axes = line_axes(list(shown))
    longest = max((len(errors) for _, errors in shown.values()), default=0)
    every = max(1, -(-longest // min(POINTS, ALL_POINTS // max(1, len(shown)))))
    for k, (name, (iterations, errors)) in enumerate(shown.items()):
        style = (styles or {}).get(name) or line_style(k)
        axes.plot(iterations[::every], errors[::every], label=plain_name(name), linewidth=0.7, **style)
        tell_errors(axes, name, iterations[::every], errors[::every])
    axes.set_xlabel("iteration" if every == 1 else f"iteration (one batch in {every} is drawn)")
    axes.set_ylabel("error E of the training batch")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    name_lines(figure, axes)
    return figure


def tell_errors(axes: Axes, name: str, iterations: np.ndarray, errors: np.ndarray) -> None:
    """Put unseen markers on a curve that tell its values."""
    chosen = np.unique(np.linspace(0, len(errors) - 1, TOLD).astype(int)) if len(errors) else np.empty(0, int)
    chosen = chosen[np.isfinite(errors[chosen])]
    texts = [f"{name}: E {errors[k]:.4f} at iteration {iterations[k]:,}" for k in chosen]
    (markers,) = axes.plot(iterations[chosen], errors[chosen], "o", markersize=9, alpha=0)
    if texts:
        tell(markers, texts)
