"""Ray Train's run of all fits, on a real local Ray: workers share maps or batches, and fit what one process fits."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from ray.train import ControllerError

from jobs.cluster.board import start_board
from jobs.cluster.failures import causes_of
from jobs.fitting.launching import train_maps
from jobs.fitting.training import write_state
from jobs.fitting.works import Work
from lib.errors import UserError
from lib.experiment.layout import Layout
from lib.experiment.settings import Experiment, FitSettings
from lib.experiment.variants import MapKey, Variant
from lib.features.tables import FeatureTables
from lib.maps.adam import AdamFits
from lib.maps.affine import AffineMap
from lib.maps.batches import ResidentRows
from lib.maps.curves import read_curve
from lib.storage.columns import vector_column
from lib.storage.files import read_json, write_json
from lib.storage.manifests import Artifact
from lib.storage.parquet import write_table

KEY = MapKey("a", "b", Variant("affine"))


def write_features(folder: Path, n: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of two networks, b's an affine function of a's and some noise, written and returned."""
    draw = np.random.default_rng(0)
    a = draw.random((n, 6), np.float32)
    b = (a @ draw.standard_normal((6, 4)) + 0.1 * draw.standard_normal((n, 4))).astype("f4")
    ids = {"image_id": [f"i{row:04d}" for row in range(n)], "label": pa.nulls(n, pa.int32())}
    table = pa.table(ids | {"a": vector_column(a), "b": vector_column(b)})
    place = folder / "features" / "train" / "a+b"
    write_table(str(place / "part.parquet"), table)
    write_json(str(place / "manifest.json"), {"rows": n, "made_from": {"networks": {"a": {}, "b": {}}}})
    return torch.from_numpy(a), torch.from_numpy(b)


def experiment(seed: int = 7, **fit: Any) -> Experiment:
    network = {"model": "test_resnet", "weights": "random"}
    return Experiment.model_validate(
        {
            "name": "e",
            "seed": seed,
            "images": {"train": "t", "val": "v"},
            "networks": {"a": network, "b": network},
            "fit": fit,
        }
    )


def work_of(experiment: Experiment, folder: Path, keys: list[MapKey], teams: int = 1) -> Work:
    files = Layout(str(folder))
    artifacts = {key: Artifact(files.map_manifest(key.name), (files.map(key.name),), {}) for key in keys}
    tables, board = FeatureTables.open(files.features("train")), start_board()
    return Work(experiment.fit, experiment.seed, files, tables, artifacts, board, teams=teams)


@pytest.mark.slow
def test_two_workers_fit_the_map_that_one_process_fits(tmp_path: Path, local_ray: None) -> None:
    """One team of two workers, from a checkpoint: its seed, another one than this run's, goes on."""
    X, Y = write_features(tmp_path)
    begun = AdamFits(ResidentRows(X, [Y], seed=7), 6, [4], FitSettings(batch_size=33, iterations=50), seed=7)
    for _ in range(20):
        begun.step()
    shared = experiment(8, iterations=50, batch_size=33, checkpoint_every=20, workers=2)
    work = work_of(shared, tmp_path, [KEY])
    write_state(work, KEY, begun.states()[0])
    train_maps(work)
    written = read_curve(str(tmp_path / "maps" / "a-to-b.curve.parquet"))
    M = AffineMap.load(str(tmp_path / "maps" / "a-to-b.safetensors"))

    alone = AdamFits(ResidentRows(X, [Y], seed=7), 6, [4], FitSettings(batch_size=33, iterations=50), seed=7)
    for _ in range(50):
        alone.step()
    weight = alone.maps()[0].weight
    torch.testing.assert_close(M.weight, weight, rtol=0, atol=1e-5 * float(weight.abs().max()))
    assert written["iteration"].to_pylist() == list(range(1, 51))
    np.testing.assert_allclose(np.asarray(written["error"]), alone.curves()[0], rtol=1e-5)
    assert alone.curves()[0][-1] < alone.curves()[0][0] / 3
    assert not (tmp_path / "train" / "a-to-b.pt").exists(), "a finished map needs no checkpoint"


@pytest.mark.slow
def test_two_teams_share_the_maps_and_skip_those_that_are_finished(tmp_path: Path, local_ray: None) -> None:
    X, Y = write_features(tmp_path)
    keys = [MapKey(*pair, Variant("affine", seed=seed)) for pair in (("a", "b"), ("b", "a")) for seed in (0, 1)]
    work = work_of(experiment(7, iterations=30, batch_size=16), tmp_path, keys, teams=2)
    work.artifacts[keys[1]].finish(1)
    train_maps(work)
    assert not (tmp_path / "maps" / f"{keys[1].name}.safetensors").exists()
    for key in (keys[0], *keys[2:]):
        source, target = (X, Y) if key.source == "a" else (Y, X)
        seed = 7 + key.variant.seed
        rows = ResidentRows(source, [target], seed)
        alone = AdamFits(rows, source.shape[1], [target.shape[1]], FitSettings(batch_size=16, iterations=30), seed)
        for _ in range(30):
            alone.step()
        found = AffineMap.load(str(tmp_path / "maps" / f"{key.name}.safetensors"))
        assert torch.equal(found.weight, alone.maps()[0].weight)
        assert read_json(str(tmp_path / "maps" / f"{key.name}.manifest.json"))["fit_error"] == alone.curves()[0][-1]


def test_what_went_wrong_in_a_worker_is_found_at_its_first_try(tmp_path: Path, local_ray: None) -> None:
    with pytest.raises(ControllerError) as failed:  # from our callback: of the last try it would be a WorkerGroupError
        train_maps(work_of(experiment(max_failures=3), tmp_path, [KEY]))
    (cause,) = (cause for cause in causes_of(failed.value) if isinstance(cause, UserError))
    assert str(cause).startswith("no finished feature table of 'a'")
