"""Streamed fits on a real local Ray: each row once in each pass over the table, a map as good as a resident fit's."""

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from jobs import streaming
from lib import storage, tables
from lib.experiment import Experiment, Fit
from lib.features import vector_column
from lib.fitting import AdamFit, unit_distance
from lib.maps import AffineMap
from lib.rows import ResidentRows, Share
from lib.variants import Variant

pytestmark = pytest.mark.filterwarnings("default")  # Ray's own warnings
FILE, FILES = 40, 15
Tables = tuple[Path, torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """Features of two passes, cut into files at other places. b is an affine map of a, and noise."""
    folder = tmp_path_factory.mktemp("run")
    draw = np.random.default_rng(0)
    n = FILE * FILES
    a = draw.random((n, 6), np.float32)
    b = (a @ draw.standard_normal((6, 4)) + 0.3 * draw.standard_normal((n, 4))).astype("f4")
    ids = np.array([f"i{row:04d}" for row in range(n)])
    for network, vectors, rows in (("a", a, FILE), ("b", b, FILE + 9)):
        place = folder / "features" / "train" / network
        for start in range(0, n, rows):
            part = slice(start, start + rows)
            table = pa.table({"image_id": ids[part], "label": pa.nulls(len(ids[part]), pa.int32())})
            table = table.append_column(network, vector_column(vectors[part]))
            tables.write_table(str(place / f"{start:04d}.parquet"), table)
        storage.write_json(str(place / "manifest.json"), {"rows": n})
    return folder, torch.from_numpy(a), torch.from_numpy(b)


def features(written: Tables) -> str:
    return str(written[0] / "features" / "train")


def test_each_pass_over_the_table_has_every_row_once_in_an_order_of_its_own(written: Tables, local_ray: None) -> None:
    _, X, Y = written
    stream = streaming.stream(features(written), "a", "b", seed=1, share=Share())(0)
    blocks = list(islice(stream, 2 * FILES))
    passes = [np.concatenate([np.hstack(block) for block in half]) for half in (blocks[:FILES], blocks[FILES:])]
    expected = np.hstack([X, Y])
    for found in passes:
        np.testing.assert_array_equal(found[np.argsort(found[:, 0])], expected[np.argsort(expected[:, 0])])
    assert not np.array_equal(*passes)
    np.testing.assert_array_equal(
        np.hstack(next(streaming.stream(features(written), "a", "b", seed=1, share=Share())(0))), passes[0][:FILE]
    )


def test_workers_read_different_files_and_all_of_them() -> None:
    read: Counter[int] = Counter()
    orders = []
    for rank in range(2):
        order = islice(streaming.shuffled(FILES, 0, 0), rank, None, 2)
        orders.append(list(islice(order, FILES)))
        read.update(orders[-1])
    assert read == dict.fromkeys(range(FILES), 2), "two passes by two workers"
    assert orders[0] != orders[1]


@pytest.mark.parametrize(("rows", "streamed"), [("resident", False), ("streamed", True), ("auto", False)])
def test_rows_are_streamed_where_the_user_says(written: Tables, rows: str, streamed: bool) -> None:
    assert streaming.is_streamed(Fit.model_validate({"rows": rows}), features(written), "a", "b") is streamed


def test_rows_without_room_are_streamed(written: Tables, local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "SMALL", 0)
    assert not streaming.is_streamed(Fit(), features(written), "a", "b")
    monkeypatch.setattr(streaming, "FILL", 1e-9)
    assert streaming.is_streamed(Fit(), features(written), "a", "b")


def test_a_streamed_fit_is_as_good_as_resident_ones(written: Tables, local_ray: None) -> None:
    """Its E on all rows lies among those of fits that hold all rows, with other seeds."""
    from jobs.training import train

    folder, X, Y = written
    options = {"iterations": 400, "batch_size": 64, "learning_rate": 0.01, "checkpoint_every": 150}
    network = {"model": "test_resnet", "weights": "random"}
    experiment = Experiment.model_validate(
        {
            "name": "e",
            "images": {"train": "t", "val": "v"},
            "networks": {"a": network, "b": network},
            "fit": options | {"rows": "streamed", "pool_rows": 200},
        }
    )
    train(experiment, str(folder), "a", "b", Variant("affine"), streamed=True)
    found = AffineMap.load(str(folder / "maps" / "a-to-b.safetensors"))
    error = float(unit_distance(found(X), Y).mean())
    resident = []
    for seed in range(8):
        fit = AdamFit(ResidentRows(X, Y, seed), 6, 4, Fit.model_validate(options), seed)
        for _ in range(400):
            fit.step()
        resident.append(float(unit_distance(fit.map()(X), Y).mean()))
    spread = max(resident) - min(resident)
    assert min(resident) - spread <= error <= max(resident) + spread
    curve = tables.read_curve(str(folder / "maps" / "a-to-b.curve.parquet"))["error"].to_numpy()
    assert len(curve) == 400
    assert curve[-50:].std() < 2 * fit.curve()[-50:].std()
