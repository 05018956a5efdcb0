"""How well mapped features meet the target's own: mean cosine and R^2, from E."""

from __future__ import annotations

import numpy as np


def r_squared(unit: np.ndarray, n: int, mean_error: float, directed: int | None = None) -> float | None:
    """Return R^2 of mapped features at unit length: 1 - sum |y^ - x^|^2 / sum |y^ - mean y^|^2; hats mean unit length.

    `unit` is the sum of y^ over n images. `mean_error` is the mean E, which is |y^ - x^|^2. 1 is a perfect map, 0 as
    good as always answering the mean direction; maps may be worse than that. The result is None if all y^ are the same.
    `directed` is the number of y^ that have a direction, since a feature vector of zeros has none; None means all.
    """
    # sum |y^ - mean|^2 = sum |y^|^2 - n |mean|^2, and |y^| is 1 or 0
    spread = (n if directed is None else directed) - float(unit @ unit) / n
    return 1 - n * mean_error / spread if spread > n * 1e-12 else None


def mean_cosine(mean_error: float) -> float:
    """Return the mean cosine between mapped and own features: E = 2 - 2 cos for each image, and so for the means."""
    return 1 - mean_error / 2
