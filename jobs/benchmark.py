"""How fast this machine does each part, beside what it could do at best: one table, a ratio in each row.

python -m jobs.benchmark decode tables fit
python -m jobs.benchmark extract --images photos/val.csv --json extract.json

PART: decode (JPEG to pixels), extract (images to features), tables (features to memory), fit (features to maps),
networks (pixels to features). Project and reference run by turns; the ratio is the median of the repeats' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from jobs.command import exit_code, positive
from lib import storage
from lib.devices import best_device
from lib.experiment import ExperimentError, Split
from lib.images import read_images
from lib.listing import list_images
from lib.memory import ONE_HEAP
from lib.tables import versions
from lib.timed_decoding import drawn
from lib.timing import Timing, table

# What times each part, imported where it is asked for, and whether it wants images.
PARTS = {
    "decode": ("lib.timed_decoding", True),
    "extract": ("jobs.timed_extract", True),
    "tables": ("lib.timed_tables", False),
    "fit": ("lib.timed_fitting", False),
    "networks": ("lib.timed_networks", True),
}
FEW = 50  # images, of the user's or drawn


def benchmark(parts: list[str], images: list[bytes], repeats: int) -> list[Timing]:
    """The rows of these parts, each timed in a process of its own: what one tells torch and malloc, no other hears."""
    rows: list[Timing] = []
    os.environ.update(ONE_HEAP)  # for these processes, as jobs.features starts its actors
    for part in parts:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            rows += process.submit(timed, part, images, repeats).result()
    return rows


def timed(part: str, images: list[bytes], repeats: int) -> list[Timing]:
    module, wants_images = PARTS[part]
    found: list[Timing] = import_module(module).timings(*([images] if wants_images else []), repeats)
    return found


def some_images(location: str | None, number: int) -> list[bytes]:
    """The first images at `location`, drawn ones without. Raises ExperimentError where one can't be read."""
    if location is None:
        return drawn(number)
    found = read_images(list_images(Split(location=location), limit=number))
    for data in found:
        if isinstance(data, Exception):
            raise ExperimentError(f"--images {location}: {data}") from data
    return [data for data in found if isinstance(data, bytes)]


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    device = best_device()
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {"machine": platform.machine(), "cores": os.cpu_count(), "gpu": gpu, "versions": versions()}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--json", metavar="FILE", help="write all repeats' rates there too")
    parser.add_argument("--images", metavar="LOCATION", help="what images.val may be (default: drawn)")
    parser.add_argument("--repeats", type=positive, default=5, metavar="N", help="of each row (default: 5)")
    parser.add_argument("--limit", type=positive, default=FEW, metavar="N", help=f"so many images (default: {FEW})")
    options = parser.parse_args(arguments)

    def work() -> None:
        wanted = any(PARTS[part][1] for part in options.parts)
        images = some_images(options.images, options.limit) if wanted else []
        rows = benchmark(options.parts, images, options.repeats)
        print(table(rows), flush=True)
        if options.json:
            result = {**machine(), "images": options.images or "drawn", "rows": [row.as_json() for row in rows]}
            storage.write_bytes(str(Path(options.json).absolute()), json.dumps(result, indent=1).encode())

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
