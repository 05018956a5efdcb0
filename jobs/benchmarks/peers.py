"""Whole commands of the project beside the scripts that people write instead, on the same pictures, from a cold start.

Each command is run as its user would, so that imports and Ray's start count. Pictures are drawn; networks are small.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lib.benchmarks.timing import Timing
from lib.benchmarks.usage import Usage, beside_a_busy_process, usage_of
from lib.demo.pictures import CLASSES, draw_split
from lib.experiment.layout import Layout
from lib.features.reading import read_features
from lib.features.tables import FeatureTables
from lib.networks.classifiers import needed_classifier

PROJECT = Path(__file__).parents[2]
MODELS = {"one": "lcnet_050", "two": "mobilenetv3_small_050"}  # of one geometry
SIZE = 256  # pixels, height and width of a drawn picture
DISTINCT = 500  # pictures that are drawn; more are these again
VAL = 4  # training pictures for one evaluation picture
ITERATIONS, BATCH = 1000, 256
HEADER = "path,label\n"
EXPERIMENT = """
[images]
train = "{folder}/train.csv"
val = "{folder}/val.csv"
max_shared = 1
[fit]
iterations = {iterations}
batch_size = {batch}
ranks = []
learning_curve = false
controls = false
"""
NETWORK = '[networks.{name}]\nmodel = "{model}"\nweights = "random"\noptions = {{ num_classes = {classes} }}\n'


@dataclass(frozen=True)
class Row:
    """What one command of the project and what a peer took, on one number of pictures, in each repeat."""

    part: str
    peer: str
    pictures: int
    project: tuple[Usage, ...]
    others: tuple[Usage, ...]

    def timing(self) -> Timing:
        """Return the row of whole commands, cold start included."""
        mine, theirs = (middle(found) for found in (self.project, self.others))
        rates = [tuple(self.pictures / one.seconds for one in found) for found in (self.project, self.others)]
        return Timing(
            f"{self.part}, {self.pictures:,} pictures", "pictures/s", self.peer, rates[0], rates[1], goal=1.0,
            note=f"{mine}; the peer {theirs}",
        )  # fmt: skip


def middle(found: Sequence[Usage]) -> Usage:
    """Return the one of the middle duration."""
    return sorted(found, key=lambda one: one.seconds)[len(found) // 2]


def time_peers(pictures: Sequence[int], repeats: int, busy: bool) -> list[Timing]:
    """Return the rows of whole commands for each number of pictures, then those of what more pictures cost.

    With `busy`, a process that only computes runs beside each command.
    """
    rows: list[Row] = []
    for number in sorted(pictures):
        found: dict[tuple[str, str], tuple[list[Usage], list[Usage]]] = {}
        with TemporaryDirectory() as folder:
            draw(Path(folder), number)
            for repeat in range(repeats):
                for part, peer, mine, theirs in compared(Path(folder) / str(repeat), Path(folder), busy):
                    project, others = found.setdefault((part, peer), ([], []))
                    print(f"{part}, {number:,} pictures: {mine}; {peer}: {theirs}", file=sys.stderr, flush=True)
                    project.append(mine)
                    others.append(theirs)
        rows += [Row(*key, number, tuple(project), tuple(others)) for key, (project, others) in found.items()]
    return [*(row.timing() for row in rows), *steady(rows)]


def draw(folder: Path, number: int) -> None:
    """Draw `number` training pictures, fewer for evaluation, and list them: each split by itself, and all.csv."""
    every: list[str] = []
    for seed, (split, count) in enumerate([("train", number), ("val", max(number // VAL, len(CLASSES)))]):
        drawn = min(count, DISTINCT)
        draw_split(str(folder / split), drawn, SIZE, seed)
        files = sorted((folder / split).rglob("*.JPEG"))
        lines = []
        for place in range(count):
            file = files[place % drawn]
            name = f"{split}/{place:06d}.JPEG"
            os.link(file, folder / name)
            lines.append(f"{name},{CLASSES.index(file.parent.name)}\n")
        (folder / f"{split}.csv").write_text(HEADER + "".join(lines))
        every += lines
    (folder / "all.csv").write_text(HEADER + "".join(every))


def compared(work: Path, pictures: Path, busy: bool) -> Iterator[tuple[str, str, Usage, Usage]]:
    """Run every command once, by turns, in the folder `work`. Yield part, peer, and what the two took."""
    peers = work / "peers"
    peers.mkdir(parents=True)
    file = work / "peers.toml"
    networks = [NETWORK.format(name=name, model=model, classes=len(CLASSES)) for name, model in MODELS.items()]
    settings = EXPERIMENT.format(folder=pictures, iterations=ITERATIONS, batch=BATCH)
    file.write_text(settings + "".join(networks))

    def run(module: str, *arguments: str) -> Usage:
        with beside_a_busy_process(busy):
            return usage_of([sys.executable, "-m", module, *arguments], PROJECT, environment())

    def project(module: str, root: str, *families: str) -> Usage:
        named = ", ".join(f'"{family}"' for family in families)
        return run(module, str(file), "--root", str(work / root), "--set", f"fit.families=[{named}]")

    listing, models = str(pictures / "all.csv"), list(MODELS.values())
    mine = project("jobs.extract", "run", "affine", "least_squares")
    timms = [run("lib.benchmarks.peer_features", listing, str(peers), *models)]
    yield "features of two networks", "timm, torch's DataLoader with 2 workers, .npy", mine, timms[0]
    rays = run("jobs.benchmarks.peer_features", listing, str(work / "parquet"), *models)
    yield "features of two networks", "Ray Data as its documentation has it, Parquet", mine, rays
    hand_over(Layout(str(work / "run" / "peers")), peers)
    theirs = timms  # one after another
    if find_spec("sklearn") is not None:
        mine = project("jobs.fit", "run", "least_squares")
        theirs.append(run("lib.benchmarks.peer_fits", "ridge", str(peers)))
        yield "least-squares maps, both ways", "scikit-learn's Ridge with one penalty", mine, theirs[-1]
    mine = project("jobs.fit", "run", "affine")
    theirs.append(run("lib.benchmarks.peer_fits", "adam", str(peers), str(ITERATIONS), str(BATCH)))
    yield f"maps by Adam, both ways, {ITERATIONS:,} batches", "a loop over torch's DataLoader", mine, theirs[-1]
    theirs.append(run("lib.benchmarks.peer_evaluation", str(peers)))
    ours = ["affine", *(["least_squares"] if find_spec("sklearn") is not None else [])]
    mine = project("jobs.pipeline", "run", *ours)
    yield "predictions, results and page", "accuracy, loss, p and E by numpy and scipy", mine, theirs[-1]
    mine = project("jobs.pipeline", "whole", *ours)
    yield "everything, one command", "these scripts one after another", mine, one_after_another(theirs)
    shutil.rmtree(work)


def environment() -> Mapping[str, str]:
    """Return the environment of commands: without another's Ray, with the project's modules."""
    path = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return {**kept, "PYTHONPATH": path, "RAY_worker_niceness": "0"}


def one_after_another(found: Sequence[Usage]) -> Usage:
    """Return what commands took together."""
    return Usage(sum(one.seconds for one in found), sum(one.cpu for one in found), max(one.memory for one in found))


def hand_over(files: Layout, folder: Path) -> None:
    """Write the features, labels and classifiers that the peers read, which are the project's own."""
    for split in ("train", "val"):
        features = read_features(FeatureTables.open(files.features(split)), list(MODELS))
        for name in MODELS:
            np.save(folder / f"{split}-{name}.npy", features.vectors[name])
        np.save(folder / "label.npy", features.label.to_numpy())  # at last those of val
    for name in MODELS:
        C = needed_classifier(files, name)
        np.savez(folder / f"classifier-{name}.npz", weight=C.weight.numpy(), bias=C.bias.numpy())


def steady(rows: Sequence[Row]) -> list[Timing]:
    """Return, for each two numbers of pictures that follow each other, the rates at which the further ones come."""
    found = []
    for part, peer in dict.fromkeys((row.part, row.peer) for row in rows):
        for few, many in pairwise(row for row in rows if (row.part, row.peer) == (part, peer)):
            more = many.pictures - few.pictures
            rates = [
                more / max(middle(large).seconds - middle(small).seconds, 1e-3)
                for small, large in ((few.project, many.project), (few.others, many.others))
            ]
            name = f"{part}, the pictures from {few.pictures:,} to {many.pictures:,}"
            found.append(Timing(name, "pictures/s", peer, (rates[0],), (rates[1],), goal=1.0))
    return found
