"""Which worker fits which maps, and which of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby

from lib.experiment.settings import FitSettings
from lib.experiment.variants import MapKey

COPIES = 4  # of a map in memory: itself, its slopes, and Adam's two moments


def share_out(keys: Sequence[MapKey], sizes: Mapping[str, int], teams: int) -> list[list[MapKey]]:
    """Divide the maps among teams: maps of one source stay together, and all teams have about as much to compute.

    `sizes` has each network's feature size d. The same maps and teams give the same parts.
    """
    ordered = sorted(keys, key=lambda key: (key.source, key.variant.seed))
    costs = [sizes[key.source] * sizes[key.target] for key in ordered]
    shares: list[list[MapKey]] = [[] for _ in range(teams)]
    for key, cost, end in zip(ordered, costs, accumulate(costs), strict=True):
        middle = end - cost / 2
        shares[min(teams - 1, int(teams * middle / sum(costs)))].append(key)
    return shares


def group(
    keys: Sequence[MapKey],
    iterations: Mapping[MapKey, int],
    streamed: frozenset[tuple[str, str]],
    size: Callable[[Sequence[MapKey]], float],
    room: float,
) -> Iterator[list[MapKey]]:
    """Yield the maps that are fitted at once: of one source and seed, after the same iteration, in `room` bytes.

    `iterations` has how many are done already, where some are. `size` returns the bytes that maps take.
    """

    def together(key: MapKey) -> tuple[str, int, int, bool]:
        """Return what maps that are fitted at once have in common."""
        return key.source, key.variant.seed, iterations.get(key, 0), key.pair in streamed

    for _, alike in groupby(sorted(keys, key=together), together):
        waiting: list[MapKey] = []
        for key in alike:
            if waiting and size([*waiting, key]) > room:
                yield waiting
                waiting = []
            waiting.append(key)
        yield waiting


def bytes_of(keys: Sequence[MapKey], sizes: Mapping[str, int], rows: int, settings: FitSettings) -> float:
    """Return the bytes that maps from one source take while they are fitted, with `rows` rows of features in memory."""
    d_A, targets = sizes[keys[0].source], [sizes[key.target] for key in keys]
    maps = COPIES * d_A * sum(targets)
    features = rows * (d_A + sum(targets))
    batch = settings.batch_size * (d_A + 4 * sum(targets))  # rows, predictions, differences, slopes
    return 4.0 * (maps + features + batch)
