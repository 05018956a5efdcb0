"""Arguments that commands share, and the run that they ask for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from jobs.cluster.runs import Run
from lib.errors import ExperimentError
from lib.experiment.loading import load_experiment
from lib.storage.uris import check_uri

EXAMPLES = """\
images, for instance (a split's location is a tree, a listing, shards, or Parquet):
  --set images.train=imagenet/train --set images.val=imagenet/val      folders of classes
  --set images.train=photos/train.csv --set images.val=photos/val.csv  listings with path,label
  --set images.train=s3://bucket/train-*.tar --set images.val=...      WebDataset shards
  --set images.train=data/train-*.parquet --set images.val=...         Parquet with the images' bytes
results: ROOT/EXPERIMENT/report.html and results.json, tables beside them (README.md, lib/README.md)
every setting: lib/experiment/settings.py and network_settings.py"""
EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add --address."""
    parser.add_argument("--address", help="Ray's address (default: RAY_ADDRESS, else a Ray started here)")


def positive(text: str) -> int:
    """Return a whole number above 0 for argparse, which refuses anything else."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that every stage takes besides the experiment."""
    parser.add_argument("--root", default="runs", help="where results go, a folder or s3://, gs:// (default: runs)")
    add_address(parser)
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override one field")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N images of each split")
    parser.add_argument(
        "--give-up-after", type=positive, default=60, metavar="MINUTES", help="without progress (default: %(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="make anew what was made from other settings")
    parser.add_argument("--repair", action="store_true", help="read what is finished, and make anew what is damaged")


def run_of(experiment: str, options: argparse.Namespace, experiments: Path = EXPERIMENTS) -> Run:
    """Return the run that these options ask for. Raises ExperimentError, and BadURI if --root holds credentials."""
    check_uri(options.root)
    overrides = options.set + ([f"limit={options.limit}"] if options.limit is not None else [])
    return Run(load_experiment(experiment, overrides, experiments), options.root, options.overwrite, options.repair)


def add_console(parser: argparse.ArgumentParser) -> None:
    """Add --verbose and --quiet."""
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument("--verbose", action="store_true", help="show what Ray and its workers say, too")
    how_much.add_argument("--quiet", action="store_true", help="print the answer alone")


def parse(
    description: str | None, arguments: list[str] | None = None, plans: bool = False
) -> tuple[Run, argparse.Namespace]:
    """Return the run that the command line asks for, and all options. Raises ExperimentError and BadURI.

    A command that `plans` also takes --dry-run.
    """
    parser = argparse.ArgumentParser(
        description=description, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(sorted(path.stem for path in EXPERIMENTS.glob("*.toml")))
    parser.add_argument("experiment", nargs="?", help=f"a TOML file, or one of jobs/experiments: {names}")
    add_arguments(parser)
    add_console(parser)
    if plans:
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, and end")
    options = parser.parse_args(arguments)
    if options.experiment is None:
        parser.print_help(sys.stderr)
        raise ExperimentError("no experiment is named, see above")
    return run_of(options.experiment, options), options
