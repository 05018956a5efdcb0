"""How fast this machine does each part, beside what it could do at best: one table, a ratio in each row.

python -m jobs.benchmark decode tables fit
python -m jobs.benchmark extract --images photos/val.csv --json extract.json
python -m jobs.benchmark peers --pictures 200 2000 --repeats 1

PART: decode (JPEG to pixels), extract (images to features), tables (features to memory), fit (features to maps),
networks (pixels to features), maps (in closed form), measures (predictions to results, neighbours), peers (whole
commands beside scripts that people write instead). Project and reference run by turns; the ratio is the median of the
repeats' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from jobs.cluster.arguments import positive
from jobs.cluster.commands import exit_code
from jobs.cluster.ending import end
from lib.benchmarks.decoding import draw_photographs
from lib.benchmarks.timing import Timing, timings_table
from lib.errors import ExperimentError
from lib.experiment.settings import Split
from lib.images.fetching import read_images
from lib.images.listing import list_images
from lib.networks.devices import best_device
from lib.networks.memory import ONE_HEAP
from lib.storage.files import write_bytes
from lib.storage.manifests import versions

PARTS = ("decode", "extract", "tables", "fit", "networks", "maps", "measures", "peers")
WITH_IMAGES = {"decode", "extract", "networks"}  # parts that are timed on images
FEW = 50  # images, of the user's or drawn
PICTURES = [200, 2000]  # that peers have


def benchmark(
    parts: list[str], images: list[bytes], repeats: int, pictures: Sequence[int] = PICTURES, busy: bool = False
) -> list[Timing]:
    """Return the rows of these parts. Each is timed in a process of its own, so that settings of torch and malloc stay
    there. `pictures` are the numbers that peers have, `busy` says whether another process computes beside them.
    """
    rows: list[Timing] = []
    os.environ.update(ONE_HEAP)  # for these processes, as jobs.extraction.stream starts its actors
    for part in parts:
        if part == "peers":  # whose commands are processes of their own
            from jobs.benchmarks.peers import time_peers

            rows += time_peers(pictures, repeats, busy)
            continue
        os.environ["OPENBLAS_NUM_THREADS"] = "1" if part == "maps" else str(os.cpu_count())  # read at scipy's import
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            rows += process.submit(time_part, part, images, repeats).result()
    return rows


def time_part(part: str, images: list[bytes], repeats: int) -> list[Timing]:
    """Time one of PARTS in this process. Its module, and with it torch or Ray, is imported here."""
    if part == "decode":
        from lib.benchmarks.decoding import time_decoding

        return time_decoding(images, repeats)
    if part == "extract":
        from jobs.benchmarks.extraction import time_extraction

        return time_extraction(images, repeats)
    if part == "tables":
        from lib.benchmarks.tables import time_tables

        return time_tables(repeats)
    if part == "fit":
        from lib.benchmarks.fitting import time_fits

        return time_fits(repeats)
    if part == "maps":
        from lib.benchmarks.closed_forms import time_closed_forms

        return time_closed_forms(repeats)
    if part == "measures":
        from lib.benchmarks.measures import time_measures

        return time_measures(repeats)
    from lib.benchmarks.networks import time_networks

    return time_networks(images, repeats)


def some_images(location: str | None, number: int) -> list[bytes]:
    """Return the first images at `location`, or drawn ones without a location.

    Raises ExperimentError if an image cannot be read.
    """
    if location is None:
        return draw_photographs(number)
    found = read_images(list_images(Split(location=location), limit=number))
    for data in found:
        if isinstance(data, Exception):
            raise ExperimentError(f"--images {location}: {data}") from data
    return [data for data in found if isinstance(data, bytes)]


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    device = best_device()
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {"machine": platform.machine(), "cores": os.cpu_count(), "gpu": gpu, "versions": versions()}


def main(arguments: list[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--json", metavar="FILE", help="write all repeats' rates there too")
    parser.add_argument("--images", metavar="LOCATION", help="what images.val may be (default: drawn)")
    parser.add_argument("--repeats", type=positive, default=5, metavar="N", help="of each row (default: 5)")
    parser.add_argument("--limit", type=positive, default=FEW, metavar="N", help=f"so many images (default: {FEW})")
    parser.add_argument(
        "--pictures", type=positive, nargs="+", default=PICTURES, metavar="N", help="numbers that peers have"
    )
    parser.add_argument("--busy", action="store_true", help="peers: beside a process that only computes")
    options = parser.parse_args(arguments)

    def work() -> None:
        images = some_images(options.images, options.limit) if WITH_IMAGES & set(options.parts) else []
        rows = benchmark(options.parts, images, options.repeats, options.pictures, options.busy)
        print(timings_table(rows), flush=True)
        if options.json:
            result = {**machine(), "images": options.images or "drawn", "rows": [row.as_json() for row in rows]}
            write_bytes(str(Path(options.json).absolute()), json.dumps(result, indent=1).encode())

    return exit_code(work)


if __name__ == "__main__":
    end(main())
