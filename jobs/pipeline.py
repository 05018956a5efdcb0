"""The whole experiment, stage after stage; what is finished is skipped, what was interrupted goes on.

python -m jobs.pipeline demo
python -m jobs.pipeline lite --set images.train=photos/train.csv --set images.val=photos/val.csv --root s3://bucket/run
"""

from __future__ import annotations

import time

from jobs.cluster.capacity import check_capacity
from jobs.cluster.commands import main
from jobs.cluster.runs import Run, Stage, say
from lib.storage.files import is_file


def pipeline(run: Run) -> int:
    """Run all stages in order and return how many tables, maps and reports they made.

    Each stage is imported when its turn comes: together they import torch, scipy and matplotlib, which takes 3 seconds.
    """
    if not is_file(run.files.results):
        check_capacity(run.experiment)
    from jobs.prepare import prepare

    made = timed("prepare", prepare, run)
    from jobs.extract import extract

    made += timed("extract", extract, run)
    from jobs.fit import fit

    made += timed("fit", fit, run)
    from jobs.predict import predict

    made += timed("predict", predict, run)
    from jobs.evaluate import evaluate

    made += timed("evaluate", evaluate, run)
    from jobs.report import report

    return made + report(run)  # not timed, so that the answer is the last thing on the screen


def timed(name: str, stage: Stage, run: Run) -> int:
    """Run one stage, say how long it took if it made anything, and return how many things it made."""
    begin = time.monotonic()
    made = stage(run)
    if made:
        say(name, f"took {time.monotonic() - begin:.1f} s")
    return made


if __name__ == "__main__":
    main(pipeline, __doc__, reads_images=True)
