"""The whole experiment, stage after stage; what is finished is skipped, what was interrupted goes on.

python -m jobs.pipeline demo
python -m jobs.pipeline lite --set images.train=photos/train.csv --set images.val=photos/val.csv --root s3://bucket/run
"""

from __future__ import annotations

import time

from jobs.capacity import check
from jobs.command import Run, main, say
from jobs.evaluate import evaluate
from jobs.extract import extract
from jobs.fit import fit
from jobs.predict import predict
from jobs.prepare import prepare
from jobs.report import report
from lib import storage

STAGES = (prepare, extract, fit, predict, evaluate, report)


def pipeline(run: Run) -> int:
    """All stages in order; how many tables, maps and reports were made."""
    made = 0
    if not storage.is_file(run.path("results.json")):
        check(run.experiment)
    for stage in STAGES:
        begin = time.monotonic()
        now = stage(run)
        if now:
            say(stage.__name__, f"took {time.monotonic() - begin:.1f} s")
        made += now
    return made


if __name__ == "__main__":
    main(pipeline, __doc__, reads_images=True)
