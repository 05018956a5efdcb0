"""Where each file of a run lies under `<root>/<experiment>/`. No other module spells these paths."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from lib.storage.uris import join_uri

SPLITS = ("train", "val")
LONGEST = 100  # characters of the networks' names that the name of a feature table repeats
TO = "-to-"  # stands between source and target, so no network's name may contain it
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"  # of networks, sets and experiments
NAME_RULE = f"letters, digits, '_', '.' and '-' are allowed, {TO!r} is not"


def pair_name(source: str, target: str) -> str:
    """Return the name of a direction as files have it: "lite0-to-lite2"."""
    return f"{source}{TO}{target}"


def map_name(source: str, target: str, variant: str | None) -> str:
    """Return the name of a map's files and of its prediction table.

    The paper's map, whose `variant` is None, has the pair's name alone: "lite0-to-lite2". Others have their variant's
    name behind it: "lite0-to-lite2.least_squares.rank4".
    """
    pair = pair_name(source, target)
    return pair if variant is None else f"{pair}.{variant}"


def pass_name(networks: tuple[str, ...]) -> str:
    """Return the name of a feature table with a column for each of these networks: "lite0+lite2".

    File names have 255 bytes, so that of many networks the name has the first, how many follow, and a digest of all.
    """
    name = "+".join(networks)
    if len(name) <= LONGEST:
        return name
    return f"{networks[0][:LONGEST]}+{len(networks) - 1}more-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Layout:
    """The URIs of a run's files; `folder` is `<root>/<experiment>`."""

    folder: str

    def images(self, split: str) -> str:
        """Return the folder with the table of a split's listed images."""
        return join_uri(self.folder, "images", split)

    @property
    def unfinished(self) -> str:
        """The folder of what has been listed of splits whose tables are not finished."""
        return join_uri(self.folder, "unfinished")

    def unfinished_images(self, split: str) -> str:
        """Return the folder with what has been listed of a split whose table is not finished."""
        return join_uri(self.unfinished, split)

    def features(self, split: str) -> str:
        """Return the folder with the feature tables of a split, one subfolder for each pass."""
        return join_uri(self.folder, "features", split)

    def feature_table(self, split: str, networks: tuple[str, ...]) -> str:
        """Return the folder of the feature table that has a column for each of these networks."""
        return join_uri(self.features(split), pass_name(networks))

    def rejects(self, split: str) -> str:
        """Return the folder with the table of a split's rejected images."""
        return join_uri(self.folder, "rejects", split)

    def classifier(self, network: str) -> str:
        """Return the file of a network's classifier C."""
        return join_uri(self.folder, "classifiers", f"{network}.safetensors")

    def classifier_manifest(self, network: str) -> str:
        """Return the file that says which weights a network's classifier belongs to, or that it has none."""
        return join_uri(self.folder, "classifiers", f"{network}.manifest.json")

    @property
    def maps(self) -> str:
        """The folder of all maps."""
        return join_uri(self.folder, "maps")

    def map(self, name: str) -> str:
        """Return the file of a map; `name` is lib.experiment.variants.MapKey's."""
        return join_uri(self.maps, f"{name}.safetensors")

    def curve(self, name: str) -> str:
        """Return the file with the error of each training batch of a map fitted by Adam."""
        return join_uri(self.maps, f"{name}.curve.parquet")

    def map_manifest(self, name: str) -> str:
        """Return the file that says what a map was made from."""
        return join_uri(self.maps, f"{name}.manifest.json")

    @property
    def checkpoints(self) -> str:
        """The folder of Ray Train's own files, and of the checkpoints of unfinished fits."""
        return join_uri(self.folder, "train")

    def checkpoint(self, name: str) -> str:
        """Return the file with the checkpoint of one unfinished fit."""
        return join_uri(self.checkpoints, f"{name}.pt")

    @property
    def all_predictions(self) -> str:
        """The folder of all prediction tables."""
        return join_uri(self.folder, "predictions")

    def predictions(self, source: str, target: str, split: str = "val") -> str:
        """Return the folder of the predictions of one network's classifier on its own or another's mapped features.

        Those of a further evaluation set have a folder of their own.
        """
        return join_uri(self.all_predictions, *([] if split == "val" else [split]), pair_name(source, target))

    def curve_predictions(self, source: str, target: str) -> str:
        """Return the folder of the predictions with a pair's maps of low rank and of parts of the rows."""
        return join_uri(self.all_predictions, f"{pair_name(source, target)}.curves")

    @property
    def results(self) -> str:
        """results.json."""
        return join_uri(self.folder, "results.json")

    @property
    def results_manifest(self) -> str:
        """The file that says what results.json was made from."""
        return join_uri(self.folder, "results.manifest.json")

    def set_results(self, name: str) -> str:
        """Return the file with what results.json says of one evaluation set."""
        return join_uri(self.folder, "eval", f"{name}.json")

    def set_maps(self, name: str) -> str:
        """Return the table with the results of every full map on one evaluation set."""
        return join_uri(self.folder, "eval", f"{name}.parquet")

    def set_manifest(self, name: str) -> str:
        """Return the file that says what one evaluation set's results were made from."""
        return join_uri(self.folder, "eval", f"{name}.manifest.json")

    @property
    def timings(self) -> str:
        """The file that says how long each stage took."""
        return join_uri(self.folder, "timings.json")

    @property
    def examples(self) -> str:
        """The table of images that a mapping fixed or broke."""
        return join_uri(self.folder, "examples.parquet")

    @property
    def thumbnails(self) -> str:
        """The table of the images that examples show."""
        return join_uri(self.folder, "thumbnails.parquet")

    @property
    def maps_table(self) -> str:
        """The table with the results of every map."""
        return join_uri(self.folder, "maps.parquet")

    @property
    def subsets(self) -> str:
        """The table with the results of maps from draws of training rows."""
        return join_uri(self.folder, "subsets.parquet")

    @property
    def directions(self) -> str:
        """The table with the fit of mapped features by principal direction of the target."""
        return join_uri(self.folder, "directions.parquet")

    @property
    def retrieval(self) -> str:
        """The table that says what mapped queries find in the target's index."""
        return join_uri(self.folder, "retrieval.parquet")

    @property
    def classes(self) -> str:
        """The folder with the results by class."""
        return join_uri(self.folder, "classes")

    def classes_of(self, target: str) -> str:
        """Return the table with the results by class of all maps to one target."""
        return join_uri(self.classes, f"{target}.parquet")

    @property
    def report(self) -> str:
        """The page."""
        return join_uri(self.folder, "report.html")

    @property
    def report_manifest(self) -> str:
        """The file that says which results the report shows."""
        return join_uri(self.folder, "report.manifest.json")

    @property
    def seal(self) -> str:
        """The file that says what all of the finished run was made from, and what its folder held then."""
        return join_uri(self.folder, "finished.manifest.json")

    def tracked_manifest(self, tracker: str) -> str:
        """Return the file that says which results a tracker was told."""
        return join_uri(self.folder, f"{tracker}.manifest.json")

    @property
    def table1(self) -> str:
        """Table 1 as Markdown."""
        return join_uri(self.folder, "table1.md")

    @property
    def figures(self) -> str:
        """The folder of the report's figures."""
        return join_uri(self.folder, "figures")

    def figure(self, file: str) -> str:
        """Return one figure's file."""
        return join_uri(self.figures, file)


def part_in(folder: str, number: int) -> str:
    """Return the file with one part of a table."""
    return join_uri(folder, f"part-{number:06d}.parquet")


def manifest_in(folder: str) -> str:
    """Return the manifest of a table whose files lie in a folder of their own."""
    return join_uri(folder, "manifest.json")


def tally_in(folder: str) -> str:
    """Return the file, beside an unfinished feature table, that counts the computed images."""
    return join_uri(folder, "computed.json")
