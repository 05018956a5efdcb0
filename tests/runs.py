"""Runs in this process, on the session's Ray, or by their command; and what their maps must be."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from jobs.cluster.runs import Run
from lib.experiment.loading import load_experiment
from lib.features.reading import read_features
from lib.features.tables import FeatureTables
from lib.maps.adam import AdamFits
from lib.maps.affine import AffineMap
from lib.maps.batches import ResidentRows
from lib.maps.curves import read_curve
from lib.networks.descriptions import Describing

DESCRIBED: dict[str, Describing] = {}


def run_of(experiment: Path, root: Path, *overrides: str) -> Run:
    """As a command makes it, but that the same networks are described once for all tests."""
    written = load_experiment(str(experiment), list(overrides))
    networks = repr(written.networks)
    if networks not in DESCRIBED:
        DESCRIBED[networks] = Describing(written.networks)
    return Run(written, str(root), begun=DESCRIBED[networks])


def path_of(run: Run, *parts: str) -> str:
    """A file or folder of a run, spelt as its users know it."""
    return "/".join([run.files.folder, *parts])


def command(experiment: Path | str, root: Path, *overrides: str) -> list[str]:
    """The pipeline's, as one types it."""
    sets = [part for value in overrides for part in ("--set", value)]
    return [sys.executable, "-m", "jobs.pipeline", str(experiment), "--root", str(root), *sets]


def check_maps(run: Run) -> None:
    """Adam's maps and curves are, bit by bit, what one process computes that nobody disturbs."""
    features = read_features(FeatureTables.open(path_of(run, "features", "train")), list(run.experiment.networks))
    settings, seed = run.experiment.fit, run.experiment.seed
    for source, target in run.experiment.pairs():
        X, Y = (torch.from_numpy(features.vectors[network]) for network in (source, target))
        fitting = AdamFits(ResidentRows(X, [Y], seed), X.shape[1], [Y.shape[1]], settings, seed)
        while fitting.iteration < settings.iterations:
            fitting.step()
        expected, path = fitting.maps()[0], path_of(run, "maps", f"{source}-to-{target}")
        found = AffineMap.load(f"{path}.safetensors")
        assert torch.equal(found.weight, expected.weight)
        assert torch.equal(found.bias, expected.bias)
        errors = read_curve(f"{path}.curve.parquet")["error"].to_numpy()
        np.testing.assert_array_equal(errors, fitting.curves()[0])
