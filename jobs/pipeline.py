"""The whole experiment, stage after stage; what is finished is skipped, what was interrupted goes on.

python -m jobs.pipeline demo
python -m jobs.pipeline lite --set images.train=photos/train.csv --set images.val=photos/val.csv --root s3://bucket/run
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from jobs.cluster.capacity import Capacity, check_capacity
from jobs.cluster.commands import main
from jobs.cluster.ending import end_ray_meanwhile
from jobs.cluster.runs import Run, Stage, say
from jobs.planning.dry_run import dry_run
from jobs.planning.finished import inputs, is_finished, write_seal
from lib.evaluation.results import StageTiming
from lib.networks.imports import meanwhile, uncollected
from lib.report.findings import read_results
from lib.storage.files import is_file, read_json, write_json


def pipeline(run: Run) -> int:
    """Run all stages in order and return how many tables, maps and reports they made.

    Each stage is imported when its turn comes, or while others work: together they import Ray Train, torch, scipy and
    matplotlib, which takes 4 seconds.
    """
    before = inputs(run)
    if not is_file(run.files.results):
        check_capacity(run.experiment)
    from jobs.prepare import prepare

    made = timed("prepare", prepare, run)
    from jobs.extract import extract

    with meanwhile(import_ahead):
        made += timed("extract", extract, run)
    from jobs.probe import probe

    made += timed("probe", probe, run)
    from jobs.fit import fit

    made += timed("fit", fit, run)
    from jobs.predict import predict

    made += timed("predict", predict, run)
    from jobs.evaluate import evaluate

    made += timed("evaluate", evaluate, run)
    from jobs.track import track

    made += track(run)
    from jobs.report import report

    if run.own_ray and not run.repair:
        end_ray_meanwhile()  # which drawing does not need, but a search for damage does
    made += report(run)  # not timed, so that the answer is the last thing on the screen
    write_seal(run, before)
    return made


def import_first() -> None:
    """Import the first two stages, while Ray starts."""
    with uncollected():
        import jobs.extract
        import jobs.prepare  # noqa: F401


def import_ahead() -> None:
    """Import what the stages after the extraction need, while its processes start."""
    with uncollected():
        import lib.report.report  # noqa: F401


def answer(run: Run) -> bool:
    """Show what the run came to, if it is finished and nothing has changed since. Return whether that is so."""
    if not is_finished(run):
        return False
    from jobs.report import show

    show(read_results(run.files), run.files)
    return True


def timed(name: str, stage: Stage, run: Run) -> int:
    """Run one stage, say and write down how long it took if it made anything, and return how many things it made."""
    begin = time.monotonic()
    made = stage(run)
    if made:
        seconds = time.monotonic() - begin
        say(name, f"took {seconds:.1f} s")
        write_timing(run, name, seconds, made)
    return made


def write_timing(run: Run, name: str, seconds: float, made: int) -> None:
    """Write into timings.json how long a stage took, in place of what an earlier run wrote of this stage."""
    timings: dict[str, StageTiming] = read_json(run.files.timings) if is_file(run.files.timings) else {}
    capacity = Capacity.now()
    timings[name] = {
        "seconds": round(seconds, 1),
        "made": made,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": capacity.cpus,
        "gpus": capacity.gpus,
    }
    write_json(run.files.timings, timings)


if __name__ == "__main__":
    main(pipeline, __doc__, reads_images=True, dry_run=dry_run, answer=answer, import_first=import_first)
