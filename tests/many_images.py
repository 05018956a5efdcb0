"""Listed images that are not there, extracted by the driver's real code.

python tests/many_images.py IMAGES PARTS ROUND [BATCH]

Decoding, networks and writing are replaced by what lets rows through. One line of JSON says what the driver took.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from tiny import TINY

from jobs.cluster.runs import Run
from jobs.extraction import stream, unfinished_tables
from jobs.extraction.listed import ListedSplits
from jobs.extraction.parts import Share
from jobs.extraction.passes import Pass
from jobs.extraction.sink import TableSink
from lib.experiment.layout import manifest_in, part_in
from lib.experiment.loading import load_experiment
from lib.images.geometry import Geometry
from lib.images.sources import images_table
from lib.images.tables import PART, ListingTable, write_parts
from lib.networks.descriptions import Description
from lib.storage.files import write_json
from lib.storage.manifests import Artifact

ROWS_PER_FILE, BATCH = 1024, 64  # larger batches are fewer, and take less time


class Through:
    """Stand in for a unit of work, whatever it is made with: a batch goes through, without what it does not need."""

    def __init__(self, *_: object) -> None:
        pass

    def __call__(self, batch: pa.Table) -> pa.Table:
        return batch.select(["split", "row"])


class CountingSink(TableSink):
    """Write nothing but the time of the first part."""

    def _write_part(self, split: str, part: int, rows: pa.Table) -> None:
        first = Path(self.folders[split][0]) / "first"
        if not first.exists():
            first.write_text(str(time.time()))


def listing(folder: str, images: int) -> ListingTable:
    """A table whose full parts are one file under many names."""
    write_parts(
        folder,
        0,
        images_table(
            PART, image_id=[f"{k}.jpg" for k in range(PART)], label=1, path=[f"/{k}.jpg" for k in range(PART)]
        ),
    )
    rows = [min(PART, images - first) for first in range(0, images, PART)]
    for part in range(1, len(rows)):
        os.link(part_in(folder, 0), part_in(folder, part))
    write_json(manifest_in(folder), {"rows": images, "part_rows": rows, "images": "drawn"})
    table = ListingTable.open(folder)
    assert table is not None
    return table


def memory(kind: str) -> int:
    """MB of this process: VmRSS now, VmHWM at most."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(kind)).split()[1]) // 1024


def main(folder: str, images: int, parts_at_most: int, round_: int, batch: int = BATCH) -> None:
    """Extract the images, or as many parts of them, so many in a stream."""
    starts = list[int]()
    table = listing(f"{folder}/images", images)
    experiment = Path(folder) / "tiny.toml"
    experiment.write_text(
        TINY.format(folder=folder).replace(
            "batch_size = 16\nrows_per_file = 16", f"batch_size = {batch}\nrows_per_file = {ROWS_PER_FILE}"
        )
    )
    run = Run(load_experiment(str(experiment)), folder)
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}}
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False, runtime_env=environment)
    before = memory("VmRSS")
    begin = time.time()
    extracted = min(images, parts_at_most * ROWS_PER_FILE)
    made = Pass(
        "train",
        ("a",),
        ListedSplits({"train": table}),
        Share(0, images, ROWS_PER_FILE),
        folder,
        f"{folder}/rejects",
        f"{folder}/computed.json",
        Artifact(f"{folder}/manifest.json", (folder,), {}),
    )
    whole = unfinished_tables.remove_incomplete_parts
    unfinished_tables.remove_incomplete_parts = lambda plan: whole(plan)[:parts_at_most]
    unfinished_tables.TableSink = CountingSink  # type: ignore[misc]
    unfinished_tables.ROUND = round_
    streams = unfinished_tables.stream_features

    def next_stream(*given: Any) -> ray.data.Dataset:
        starts.append(memory("VmRSS"))
        return streams(*given)

    unfinished_tables.stream_features = next_stream
    stream.CountedDecodeImages = stream.CountedExtractFeatures = Through  # type: ignore[misc,assignment]
    described = {"a": Description("", Geometry.__new__(Geometry), {}, 12, b"")}
    stream.distinct_geometries = lambda _: []
    unfinished_tables.compute_passes(run, [made], described)
    answer = {
        "images": images,
        "extracted": extracted,
        "before_MB": before,
        "peak_MB": memory("VmHWM"),
        "streams_MB": starts,
        "first_s": float((Path(folder) / "first").read_text()) - begin,
        "seconds": time.time() - begin,
        "own_seconds": resource.getrusage(resource.RUSAGE_SELF).ru_utime,
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(scratch, *map(int, sys.argv[1:]))
        ray.shutdown()
