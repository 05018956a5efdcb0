"""The whole experiment, stage after stage; what is finished is skipped, what was interrupted goes on.

python -m jobs.pipeline demo
python -m jobs.pipeline lite --set images.train=photos/train.csv --set images.val=photos/val.csv --root s3://bucket/run
"""

from __future__ import annotations

import time
from importlib import import_module

from jobs.capacity import check
from jobs.command import Run, Stage, main, say
from lib import storage

STAGES = ("prepare", "extract", "fit", "predict", "evaluate", "report")  # each the function of that name in jobs


def pipeline(run: Run) -> int:
    """All stages in order; how many tables, maps and reports were made.

    A stage is imported when its turn comes: all of them import torch, scipy and matplotlib, which takes 3 seconds.
    """
    made = 0
    if not storage.is_file(run.path("results.json")):
        check(run.experiment)
    for name in STAGES:
        stage: Stage = getattr(import_module(f"jobs.{name}"), name)
        begin = time.monotonic()
        now = stage(run)
        if now:
            say(name, f"took {time.monotonic() - begin:.1f} s")
        made += now
    return made


if __name__ == "__main__":
    main(pipeline, __doc__, reads_images=True)
