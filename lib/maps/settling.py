"""Whether a fit by Adam came to rest: judged from E of its training batches, as the curve has them."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

PIECES = 10  # of the curve: its last one is compared with the one before
SMALL = 0.01  # share by which E may still change from one to the other
NOISE = 3.0  # standard errors of that change, below which it shows nothing


class CurveShape(TypedDict):
    """What an error curve looks like. E is the mean over a tenth of the iterations."""

    first: float | None  # E of the first tenth; null if it is not finite, as the next two
    last: float | None  # E of the last tenth
    change: float | None  # from the tenth before to the last one, as a share of the former; below 0 where E falls
    state: str  # "settled", "falling", "rising" or "diverged", of a curve with numbers that are not finite


def shape_of(errors: np.ndarray) -> CurveShape:
    """Return what the curve of E of each batch, (iterations,), looks like.

    E of a batch is noisy, so that a change counts only beyond three of its standard errors. Batches are drawn
    independently of each other. Fewer than 20 iterations show nothing, and count as falling.
    """
    errors = errors.astype(np.float64)
    if not np.isfinite(errors).all():
        return {"first": None, "last": None, "change": None, "state": "diverged"}
    pieces = np.array_split(errors, PIECES) if len(errors) >= 2 * PIECES else [errors, errors, errors]
    first, before, last = (float(piece.mean()) for piece in (pieces[0], pieces[-2], pieces[-1]))
    change = (last - before) / before if before else 0.0
    if len(errors) < 2 * PIECES:
        return {"first": first, "last": last, "change": None, "state": "falling"}
    noise = np.sqrt(sum(piece.var(ddof=1) / len(piece) for piece in pieces[-2:]))
    moves = abs(change) > SMALL and abs(last - before) > NOISE * noise
    state = "settled" if not moves else "falling" if change < 0 else "rising"
    return {"first": first, "last": last, "change": change, "state": state}
