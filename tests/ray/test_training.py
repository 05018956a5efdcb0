"""Ray Train's run of one fit, on a real local Ray: several workers fit the map that one fits."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from lib.errors import TableError
from lib.experiment.layout import Layout
from lib.experiment.settings import Experiment, FitSettings
from lib.experiment.variants import MapKey, Variant
from lib.features.tables import FeatureTables
from lib.maps.adam import AdamFit
from lib.maps.affine import AffineMap
from lib.maps.batches import ResidentRows
from lib.maps.curves import read_curve
from lib.storage.columns import vector_column
from lib.storage.files import write_json
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
    write_json(str(place / "manifest.json"), {})
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


def test_two_workers_fit_the_map_that_one_process_fits(tmp_path: Path, local_ray: None) -> None:
    """The second run goes on from the first one's last checkpoint: its own seed, another one, changes nothing."""
    from jobs.fitting.adam import train_map

    X, Y = write_features(tmp_path)
    tables = FeatureTables.open(str(tmp_path / "features" / "train"))
    for seed, iterations in ((7, 20), (8, 50)):
        shared = experiment(seed, iterations=iterations, batch_size=33, checkpoint_every=20, workers=2)
        train_map(shared, Layout(str(tmp_path)), tables, KEY)
    written = read_curve(str(tmp_path / "maps" / "a-to-b.curve.parquet"))
    M = AffineMap.load(str(tmp_path / "maps" / "a-to-b.safetensors"))

    alone = AdamFit(ResidentRows(X, Y, seed=7), 6, 4, FitSettings(batch_size=33, iterations=50), seed=7)
    for _ in range(50):
        alone.step()
    weight = alone.map().weight
    torch.testing.assert_close(M.weight, weight, rtol=0, atol=1e-5 * float(weight.abs().max()))
    assert written["iteration"].to_pylist() == list(range(1, 51))
    np.testing.assert_allclose(np.asarray(written["error"]), alone.curve(), rtol=1e-5)
    assert alone.curve()[-1] < alone.curve()[0] / 3
    assert (tmp_path / "train" / "a-to-b").is_dir(), "checkpoints"


def test_what_went_wrong_in_a_worker_is_said_without_ray_trains_words(tmp_path: Path, local_ray: None) -> None:
    from jobs.fitting.adam import train_map

    with pytest.raises(TableError, match="no finished feature table of 'a'"):
        train_map(experiment(max_failures=0), Layout(str(tmp_path)), FeatureTables.open(str(tmp_path)), KEY)
