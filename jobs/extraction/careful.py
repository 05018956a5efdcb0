"""The extraction's units of work, with a bound on how often a batch is tried.

Ray tries a batch again when its process dies, for ever: that is right when a machine was lost, and wrong when an image
killed the process. So each batch is noted in the tally when it begins and when it ends. One that began before and did
not end is taken image by image. An image that kills or hangs is rejected; a batch that still has no end fails the run.
"""

from __future__ import annotations

import faulthandler
import sys
import threading
from collections import Counter
from typing import Any

import pyarrow as pa
import ray

from jobs.extraction.flow import BEGUN, DECODED, NETWORKS
from lib.errors import RunError
from lib.experiment.network_settings import NetworkSettings
from lib.experiment.settings import ExtractSettings
from lib.images.batches import DecodeImages
from lib.images.fetching import read_images
from lib.images.geometry import Geometry
from lib.networks.imports import uncollected

TRIES = 10  # of one batch
TOGETHER = 2  # of them with all images of the batch at once
DEATHS = 3  # of the process while it computes an image's features alone; another thread's batch may cause two
SECONDS, SECONDS_AN_IMAGE = 60.0, 2.0  # in which a batch must be decoded; what takes longer is taken image by image


class CountedDecodeImages:
    """lib.images.batches.DecodeImages, which also counts its images in the tally, if there is one.

    A batch that killed its process before is taken image by image.
    """

    def __init__(self, tally: ray.actor.ActorHandle | None, geometries: list[Geometry], max_pixels: int) -> None:
        self.decode, self.tally = DecodeImages(geometries, max_pixels), tally

    def __call__(self, rows: pa.Table) -> pa.Table:
        if self.tally is None:
            return self.decode(rows)
        work = name_of("decode", rows)
        tries = begin(self.tally, work, rows, "decoding")
        images = read_images(rows)
        # A thread of C ends the process, whatever decoder holds Python's lock; Ray then tries the batch again.
        seconds = SECONDS + SECONDS_AN_IMAGE * len(rows)
        if tries == 1:
            faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)  # type: ignore[arg-type]
        try:
            batch = self.decode.decoded(rows, images, alone=tries > 1)
        finally:
            faulthandler.cancel_dump_traceback_later()
        ray.get([self.tally.end.remote(work), self.tally.count.remote(DECODED, len(batch))])
        return batch


class CountedExtractFeatures:
    """lib.features.extraction.ExtractFeatures, which also counts its images in the tally, if there is one."""

    def __init__(
        self,
        tally: ray.actor.ActorHandle | None,
        networks: dict[str, NetworkSettings],
        settings: ExtractSettings,
        max_pixels: int,
    ) -> None:
        with uncollected():
            from lib.features.extraction import ExtractFeatures  # with torch and timm, which the driver may do without

            self.extract = ExtractFeatures(networks, settings, max_pixels=max_pixels)
        self.tally = tally
        self.alone = threading.Lock()
        if tally is not None:
            tally.count.remote(NETWORKS, 1)

    def __call__(self, batch: pa.Table) -> pa.Table:
        if self.tally is None:
            return self.extract(batch)
        work = name_of("extract", batch)
        tries = begin(self.tally, work, batch, "computing features of")
        self.tally.count.remote(BEGUN, len(batch))
        features = self.extract(batch) if tries <= TOGETHER else self.one_by_one(batch, self.tally)
        ray.get([self.tally.end.remote(work), self.tally.add.remote(Counter(batch["split"].to_pylist()))])
        return features

    def one_by_one(self, batch: pa.Table, tally: ray.actor.ActorHandle) -> pa.Table:
        """Extract image by image, and reject an image during which the process died too often."""
        found = []
        for place in range(len(batch)):
            row = batch.slice(place, 1)
            work = name_of("extract one", row)
            with self.alone:  # else an image would be blamed for what another thread's does
                if tries_of(tally, work) > DEATHS:
                    reason = f"kills: the process that computes its features died {DEATHS} times"
                    found.append(self.extract.rejecting(row, reason))
                else:
                    found.append(self.extract(row))
                ray.get(tally.end.remote(work))
        return pa.concat_tables(found)


def name_of(step: str, rows: pa.Table) -> str:
    """Return the name of the work that a step has with these rows, which are numbered through all splits."""
    return f"{step} {rows['row'][0].as_py()}+{len(rows)}"


def tries_of(tally: ray.actor.ActorHandle, work: str) -> int:
    """Note that some work begins, and return how often it began without an end."""
    answer: Any = ray.get(tally.begin.remote(work))
    return int(answer)


def begin(tally: ray.actor.ActorHandle, work: str, rows: pa.Table, what: str) -> int:
    """Return how often the work began without an end. Raises RunError if that is more often than TRIES."""
    tries = tries_of(tally, work)
    if tries > TRIES:
        ids = rows["image_id"]
        raise RunError(
            f"{what} {len(rows)} images from {ids[0].as_py()!r} to {ids[-1].as_py()!r} was tried {TRIES} times, and "
            "each time the process died: for want of memory, or of a library's fault. Ray's log files say which "
            "signal. Try a smaller extract.batch_size, more memory for each process (extract.decode_cpus, "
            "extract.network_cpus), or take these images out"
        )
    return tries
