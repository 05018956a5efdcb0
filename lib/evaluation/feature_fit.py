"""How well mapped features meet the target's own: R^2 and skill, from E and from where the target's features point."""

from __future__ import annotations

from lib.evaluation.cka import Directions


def r_squared(directions: Directions, mean_error: float) -> float | None:
    """Return R^2 of mapped features at unit length: 1 - sum |y^ - x^|^2 / sum |y^ - mean y^|^2; hats mean unit length.

    1 is a perfect map. 0 is what the vector mean y^ itself would get, which is shorter than unit length, so that no map
    that always answers one direction gets 0: see `skill`. The result is None if all y^ are the same. A feature vector
    of zeros has no direction; its y^ is zero.
    """
    # sum |y^ - mean|^2 = sum |y^|^2 - n |mean|^2, and |y^| is 1 or 0
    n = directions.n
    spread = directions.directed - float(directions.unit @ directions.unit) / n
    return 1 - n * mean_error / spread if spread > n * 1e-12 else None


def skill(directions: Directions, mean_error: float) -> float | None:
    """Return 1 - E / E_const, where E_const is the mean E of always answering the target's mean direction.

    1 is a perfect map, 0 is as good as always answering the mean direction, below 0 is worse. With m = mean y^, E_const
    = 2 - 2 |m|, or (n + directed) / n - 2 |m| where some y^ are zero. The result is None if all y^ are the same.
    """
    n = directions.n
    constant = (n + directions.directed) / n - 2 * float((directions.unit @ directions.unit) ** 0.5) / n
    return 1 - mean_error / constant if constant > 1e-12 else None
