"""Run a stage as a command: checks before work starts, exit codes, last lines."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import NoReturn

import ray

from jobs.cluster.arguments import parse
from jobs.cluster.console import LOGS
from jobs.cluster.ending import FAILED, end
from jobs.cluster.failures import causes_of, describe, is_rays, may_pass
from jobs.cluster.progress import set_patience
from jobs.cluster.runs import Run, Stage, say, say_nothing
from jobs.cluster.starting import begin_describing, start_ray
from jobs.tracking.trackers import refuse_missing
from lib.errors import BadURI, ExperimentError, StorageError, UserError
from lib.experiment.network_settings import NetworkSettings
from lib.experiment.settings import Images
from lib.images.timm_files import file_named
from lib.networks.imports import meanwhile
from lib.storage.leases import hold
from lib.storage.patterns import folder_of, is_pattern
from lib.storage.probes import check_readable, check_writable

FILES = ("classes", "labels")  # fields of an evaluation set that name files
BAD_EXPERIMENT, INTERRUPTED = 2, 130


def main(
    stage: Stage,
    description: str | None,
    arguments: list[str] | None = None,
    reads_images: bool = False,
    dry_run: Callable[[Run], None] | None = None,
    answer: Callable[[Run], bool] | None = None,
    import_first: Callable[[], None] | None = None,
) -> NoReturn:
    """Run one stage as a command. Exit with 0 if all was done, with 2 for a bad experiment, with 1 for a failure.

    If the stage `reads_images`, their locations and those of the networks' weights are checked before Ray starts.
    With --dry-run, `dry_run` alone is done, after the same checks of what is read. `answer` shows what a run came to
    that needs no stage, and returns whether it is one; nodes of a cluster may see other files, so they are asked.
    `import_first` imports what the stage needs first, in a thread, while Ray starts.
    """

    def work() -> None:
        run, options = parse(description, arguments, dry_run is not None)
        run = replace(run, own_ray=here)
        if dry_run is not None and options.dry_run:
            refuse_unreadable(run.written.images, run.written.networks)
            dry_run(run)
            return
        if options.quiet:
            say_nothing()
        refuse_missing(run.written.track)
        set_patience(60.0 * options.give_up_after)
        refuse_unwritable(run.files.folder)
        if reads_images:
            refuse_unreadable(run.written.images, run.written.networks)
        with hold(run.files.folder, command_line(), end_at_once, lambda line: say("lease", line)):
            if answer is not None and not (options.address or os.environ.get("RAY_ADDRESS")) and answer(run):
                say_finished(run)
                return
            if reads_images:
                run = replace(run, begun=begin_describing(run.written.networks, options.address))
            with nullcontext() if import_first is None else meanwhile(import_first):
                start_ray(options.address, options.verbose)
            if not stage(run):
                say_finished(run)

    here = not ray.is_initialized()
    code = exit_code(work)
    if here:
        end(code)
    sys.exit(code)  # the process belongs to whoever has started Ray


def say_finished(run: Run) -> None:
    """Say that there was nothing to do."""
    print(f"Nothing to do: all of {run.files.folder} is finished.", flush=True)


def command_line() -> str:
    """Return this process's command, as another run is told it."""
    module = getattr(sys.modules["__main__"].__spec__, "name", None)
    called = f"python -m {module}" if module else sys.argv[0]
    return shlex.join([*called.split(), *sys.argv[1:]])


def end_at_once(reason: str) -> None:
    """End the process from any thread: another run has its folder now."""
    print(f"error: {reason}", file=sys.stderr, flush=True)
    os._exit(FAILED)


def refuse_unwritable(folder: str) -> None:
    """Raise ExperimentError, before any work, if nothing can be written there."""
    try:
        check_writable(folder)
    except StorageError as error:
        raise ExperimentError(str(error)) from error


def refuse_unreadable(images: Images, networks: dict[str, NetworkSettings]) -> None:
    """Raise ExperimentError, before any work, if images, class names or weights cannot be read.

    Locations under "{root}" are not checked, since the run makes them. Weights that are no URI are not checked, since
    they lie on the nodes.
    """
    locations = {images.field(split): images.split(split).location for split in images.splits}
    files = {f"{images.field(name)}.{key}": getattr(one, key) for name, one in images.eval.items() for key in FILES}
    locations |= {field: uri for field, uri in files.items() if uri is not None}
    locations |= {"images.classes": images.classes} if images.classes else {}
    for name, network in networks.items():
        named = {"weights": network.weights, "classifier": network.classifier}
        if network.features is not None:
            named |= {f"features.{split}": folder_of_files(network.features.location(split)) for split in images.splits}
        locations |= {f"networks.{name}.{field}": uri for field, uri in named.items() if "://" in uri}
    for field, uri in locations.items():
        if "{root}" in uri:
            continue
        try:
            check_readable(file_named(uri))
        except StorageError as error:
            raise ExperimentError(f"{field}: {error}") from error


def folder_of_files(location: str) -> str:
    """Return the folder whose files a pattern names, else the location itself."""
    return folder_of(location) if is_pattern(location) else location


def exit_code(work: Callable[[], object]) -> int:
    """Do the work, print what went wrong, and return 0 if all was done, 2 for a bad experiment, 1 for a failure."""
    try:
        work()
    except KeyboardInterrupt:
        print("Interrupted. What is finished is kept: run the same command again to go on from there.", file=sys.stderr)
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # threads that wait for fits would hold the process
    except Exception as error:
        return report_failure(error)
    return 0


def report_failure(error: Exception) -> int:
    """Print what went wrong, and return the exit code. The last line says what to do."""
    causes = causes_of(error)
    # What a task raised comes twice: as Ray's own error, with a traceback for its text, and as it was raised.
    mendable = next((cause for cause in causes if isinstance(cause, UserError) and not is_rays(cause)), None)
    if mendable is not None:
        print(f"error: {mendable}", file=sys.stderr)
        return BAD_EXPERIMENT if isinstance(mendable, ExperimentError | BadURI) else FAILED
    traceback.print_exception(error)
    if any(map(may_pass, causes)):
        cure = "run the same command again to go on from there"
    else:
        cure = (
            "the same command would fail again, since this is a fault of the program: please report it with the lines "
            "above"
        )
    if LOGS:
        print(f"Ray's log files: {LOGS[0]} (or use --verbose)", file=sys.stderr)
    print(f"error: {describe(causes[-1])}. What is finished is kept: {cure}.", file=sys.stderr)
    return FAILED
