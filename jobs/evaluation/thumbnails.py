"""Small pictures of the images to show, which tasks look for in the listing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from jobs.cluster.in_turn import in_turn
from jobs.cluster.runs import Run
from lib.evaluation.examples import thumbnails, thumbnails_table
from lib.images.tables import ListingTable
from lib.storage.parquet import write_table
from lib.storage.records import FileRecord

LISTED = 2**20  # images of the listing among which one task looks for them


def write_thumbnails(run: Run, wanted: list[str]) -> FileRecord:
    """Write small pictures of these images, which tasks look for in the listing, and return the file's record."""
    table, max_pixels = ListingTable.open(run.files.images("val")), run.experiment.images.max_pixels
    pictures: dict[str, bytes] = {}
    if table is not None and wanted:
        shared = ray.put(wanted)
        starts = range(0, table.rows, LISTED)
        for found in in_turn(lambda first: draw_thumbnails.remote(table, first, shared, max_pixels), starts):
            pictures |= found
    return FileRecord.of(write_table(run.files.thumbnails, thumbnails_table(wanted, pictures)))


@ray.remote(num_cpus=1)
def draw_thumbnails(table: ListingTable, first: int, wanted: list[str], max_pixels: int) -> dict[str, bytes]:
    """Return small pictures of those of the wanted images that stand among LISTED images from `first` on."""
    end = min(first + LISTED, table.rows)
    here = pc.is_in(table.read(first, end, ["image_id"])["image_id"], value_set=pa.array(wanted, pa.string()))
    rows = [table.read(first + place, first + place + 1) for place in np.flatnonzero(here.to_numpy()).tolist()]
    return thumbnails(pa.concat_tables(rows), max_pixels) if rows else {}
