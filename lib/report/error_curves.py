"""The paper's Fig. 4: the error of each training batch."""

from __future__ import annotations

from matplotlib.figure import Figure

from lib.report.drawing import line_axes, line_style, name_lines, plain_name
from lib.report.findings import Curve

POINTS, ALL_POINTS = 4000, 40_000  # drawn of a curve and of all curves, at the most


def draw_error_curves(curves: dict[str, Curve], last: int | None = 10_000) -> Figure:
    """Draw Fig. 4: E of each training batch by iteration, up to iteration `last`, with a line for each direction.

    None draws to the end. If a curve has more than POINTS batches, every k-th batch is drawn, with one k for all
    curves, and the axis says so.
    """
    shown = {
        name: (iterations, errors) if last is None else (iterations[iterations <= last], errors[iterations <= last])
        for name, (iterations, errors) in curves.items()
    }
    figure, axes = line_axes(list(shown))
    longest = max((len(errors) for _, errors in shown.values()), default=0)
    every = max(1, -(-longest // min(POINTS, ALL_POINTS // max(1, len(shown)))))
    for k, (name, (iterations, errors)) in enumerate(shown.items()):
        axes.plot(iterations[::every], errors[::every], label=plain_name(name), linewidth=0.7, **line_style(k))
    axes.set_xlabel("iteration" if every == 1 else f"iteration (one batch in {every} is drawn)")
    axes.set_ylabel("error E of the training batch")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    name_lines(figure, axes)
    return figure
