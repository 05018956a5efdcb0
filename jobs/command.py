"""What every stage's command shares: its arguments, the experiment they name, Ray, the exit code."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import ray

from lib import storage, tables
from lib.descriptions import Describing
from lib.experiment import Experiment, ExperimentError, Images, Network, NetworkError, load
from lib.images import UnreadableImage
from lib.listing import ListingError
from lib.tables import ManifestMismatch, TableError
from lib.variants import Variant, variants

EXPERIMENTS = Path(__file__).parent / "experiments"
BAD_EXPERIMENT, FAILED, INTERRUPTED = 2, 1, 130


class RunError(RuntimeError):
    """The run can't end well; the message says what to do."""


# What people read is the message of these; for anything else the traceback stands above the last line.
EXPECTED = (
    RunError, storage.StorageError, ListingError, NetworkError, ManifestMismatch, TableError, UnreadableImage,
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One run of an experiment: its settings as they were written, and where its files are."""

    written: Experiment
    root: str
    overwrite: bool = False
    begun: Describing | None = None  # of its networks, where that was begun beside Ray's start

    @property
    def folder(self) -> str:
        """`<root>/<experiment>`; absolute where local, since Ray's workers have other working directories."""
        root = self.root if "://" in self.root else os.path.abspath(os.path.expanduser(self.root))
        return storage.join(root, self.written.name)

    @property
    def experiment(self) -> Experiment:
        """The settings with "{root}" resolved."""
        return self.written.located(self.folder)

    def path(self, *parts: str) -> str:
        return storage.join(self.folder, *parts)

    def maps(self, source: str, target: str) -> list[Variant]:
        """Which maps a pair of networks has, the main one first. Raises TableError before their features are there."""
        sizes = [tables.feature_size(self.path("features", "val"), network) for network in (source, target)]
        return variants(self.experiment.fit, min(sizes))


Stage = Callable[[Run], int]  # does what is still to be done; returns how many tables, maps or reports it made


def say(stage: str, text: str) -> None:
    print(f"[{stage}] {text}", flush=True)


def add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--address", help="Ray's address (default: RAY_ADDRESS, else a Ray started here)")


def positive(text: str) -> int:
    """An argument that counts: argparse's type, which refuses the rest."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What every stage takes besides the experiment."""
    parser.add_argument("--root", default="runs", help="where results go, a folder or s3://, gs:// (default: runs)")
    add_address(parser)
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override one field")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N images of each split")
    parser.add_argument("--overwrite", action="store_true", help="make anew what was made from other settings")


def run_of(experiment: str, options: argparse.Namespace, experiments: Path = EXPERIMENTS) -> Run:
    """The run that these arguments ask for. Raises ExperimentError, and BadURI where --root holds credentials."""
    storage.check(options.root)
    overrides = options.set + ([f"limit={options.limit}"] if options.limit is not None else [])
    return Run(load(experiment, overrides, experiments), options.root, options.overwrite)


def parse(description: str | None, arguments: list[str] | None = None) -> tuple[Run, str | None]:
    """The run that the command line asks for, and Ray's address. Raises ExperimentError."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", help="a name in jobs/experiments, or a TOML file")
    add_arguments(parser)
    options = parser.parse_args(arguments)
    return run_of(options.experiment, options), options.address


def begin_describing(networks: dict[str, Network], address: str | None) -> Describing | None:
    """Have networks described while Ray starts on this machine.

    None where the nodes of a cluster at `address` or RAY_ADDRESS will do that, or the run makes their weights first.
    """
    later = address or os.environ.get("RAY_ADDRESS") or any("{root}" in each.weights for each in networks.values())
    return None if later else Describing(networks)


def start_ray(address: str | None) -> None:
    """Connect to the cluster at `address` or RAY_ADDRESS, else start Ray on this machine."""
    if ray.is_initialized():
        return
    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address, log_to_driver=True)
    else:
        ray.init(include_dashboard=True)  # Ray Train asks its state service, and complains every second without
    progress = sys.stderr.isatty()  # no terminal bars in a log file
    ray.data.DataContext.get_current().enable_progress_bars = progress


def main(
    stage: Stage, description: str | None, arguments: list[str] | None = None, reads_images: bool = False
) -> NoReturn:
    """Run one stage as a command: exit code 0 where all was done, 2 for a bad experiment, 1 for a failure.

    Of a stage that `reads_images` their locations, and those of the networks' weights, are checked before Ray starts.
    """

    def work() -> None:
        run, address = parse(description, arguments)
        refuse_unwritable(run.folder)
        if reads_images:
            refuse_unreadable(run.written.images, run.written.networks)
            run = replace(run, begun=begin_describing(run.written.networks, address))
        start_ray(address)
        if not stage(run):
            print(f"Nothing to do: all of {run.folder} is finished.", flush=True)

    here = not ray.is_initialized()
    code = exit_code(work)
    if here:
        ray.shutdown()  # after a fit failed, threads wait for the others, and would hold the process till they end
    sys.exit(code)


def refuse_unwritable(folder: str) -> None:
    """Raise ExperimentError, before any work, where nothing can be written."""
    try:
        storage.writable(folder)
    except storage.StorageError as error:
        raise ExperimentError(str(error)) from error


def refuse_unreadable(images: Images, networks: dict[str, Network]) -> None:
    """Raise ExperimentError, before any work, where images, class names or weights can't be read.

    What lies under "{root}" is made by the run itself. Weights that are no URI are found on the nodes, or not there.
    """
    locations = {"images.train": images.train.location, "images.val": images.val.location}
    locations |= {"images.classes": images.classes} if images.classes else {}
    weights = {f"networks.{name}.weights": network.weights for name, network in networks.items()}
    locations |= {field: uri for field, uri in weights.items() if "://" in uri}
    for field, uri in locations.items():
        if "{root}" in uri:
            continue
        try:
            storage.readable(uri)
        except storage.StorageError as error:
            raise ExperimentError(f"{field}: {error}") from error


def exit_code(work: Callable[[], object]) -> int:
    """Do it; 0 where all was done, 2 for a bad experiment, 1 for a failure, with what went wrong printed."""
    try:
        work()
    except KeyboardInterrupt:
        print("Interrupted. What is finished is kept: run the same command again to go on from there.", file=sys.stderr)
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # threads that wait for fits would hold the process until the fits have ended
    except Exception as error:
        return report_failure(error)
    return 0


def report_failure(error: Exception) -> int:
    """Print what went wrong; the last line says what to do."""
    cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) and error.cause else error
    if isinstance(cause, ExperimentError | storage.BadURI):
        print(f"error: {cause}", file=sys.stderr)
        return BAD_EXPERIMENT
    if isinstance(cause, EXPECTED):
        print(f"error: {cause}", file=sys.stderr)
    else:
        traceback.print_exception(error)
        print(
            f"error: {type(cause).__name__}. What is finished is kept: run the same command again to go on from there.",
            file=sys.stderr,
        )
    return FAILED
