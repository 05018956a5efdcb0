"""How long extraction and fits by Adam would take on CPUs, from the rates in README.md here.

The rates are those of 2 cores of an AMD EPYC (Zen 4), in float32. Other processors and other kinds of network differ by
a factor of three or so: depthwise networks, which the rate is of, use a core worse than ResNets do.
"""

from __future__ import annotations

from collections.abc import Iterable

from lib.experiment.settings import FitSettings

DECODED = 315.0  # photographs a second and core
MULTIPLY_ADDS = 112 * 0.384e9 / 2  # a second and core: EfficientNet-Lite0's 112 images/s on 2 cores
OWN = 0.89  # share of the cores' time that decoding and networks have; the rest is Ray's
STEP = 1 / 1791  # seconds of an iteration of a fit so small that its products take no time
FIT_OPERATIONS = (
    13.6 * 4 * 2048 * 1280**2 / 2
)  # a second and core: 13.6 iterations/s of 1,280 to 1,280, batches of 2,048


def extraction_seconds(images: int, multiply_adds: float, cores: int) -> float:
    """Return the seconds for images that are decoded once and cost `multiply_adds` each in all networks together."""
    return images * (1 / DECODED + multiply_adds / MULTIPLY_ADDS) / (OWN * cores)


def fit_seconds(settings: FitSettings, sizes: Iterable[tuple[int, int]], cores: int) -> float:
    """Return the seconds for a fit by Adam of each (d_source, d_target), as many side by side as there are cores."""
    maps = list(sizes)
    products = sum(4 * settings.batch_size * source * target for source, target in maps) / (FIT_OPERATIONS * cores)
    steps = STEP * len(maps) / max(1, min(len(maps), cores // settings.cpus))
    return settings.iterations * (products + steps)
