"""Streamed fits on a real local Ray: each row once in each pass over the table, a map as good as a resident fit's."""

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from jobs.cluster.board import start_board
from jobs.fitting.launching import train_maps
from jobs.fitting.streaming import shuffled, stream_rows, streamed_pairs
from jobs.fitting.works import Work
from lib.experiment.layout import Layout
from lib.experiment.settings import FitSettings
from lib.experiment.variants import MapKey, Variant
from lib.features.tables import FeatureTables
from lib.maps.adam import AdamFits
from lib.maps.affine import AffineMap
from lib.maps.batches import ResidentRows, Share
from lib.maps.curves import read_curve
from lib.maps.error import unit_distance
from lib.storage.columns import vector_column
from lib.storage.files import write_json
from lib.storage.manifests import Artifact
from lib.storage.parquet import write_table

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
            write_table(str(place / f"{start:04d}.parquet"), table)
        write_json(str(place / "manifest.json"), {"rows": n, "made_from": {"networks": {network: {}}}})
    return folder, torch.from_numpy(a), torch.from_numpy(b)


def features(written: Tables) -> FeatureTables:
    return FeatureTables.open(str(written[0] / "features" / "train"))


def test_each_pass_over_the_table_has_every_row_once_in_an_order_of_its_own(written: Tables, local_ray: None) -> None:
    _, X, Y = written
    stream = stream_rows(features(written), ["a", "b"], seed=1, share=Share())(0)
    blocks = list(islice(stream, 2 * FILES))
    passes = [np.concatenate([np.hstack(block) for block in half]) for half in (blocks[:FILES], blocks[FILES:])]
    expected = np.hstack([X, Y])
    for found in passes:
        np.testing.assert_array_equal(found[np.argsort(found[:, 0])], expected[np.argsort(expected[:, 0])])
    assert not np.array_equal(*passes)
    np.testing.assert_array_equal(
        np.hstack(next(stream_rows(features(written), ["a", "b"], seed=1, share=Share())(0))), passes[0][:FILE]
    )


def test_workers_read_different_files_and_all_of_them() -> None:
    read: Counter[int] = Counter()
    orders = []
    for rank in range(2):
        order = islice(shuffled(FILES, 0, 0), rank, None, 2)
        orders.append(list(islice(order, FILES)))
        read.update(orders[-1])
    assert read == dict.fromkeys(range(FILES), 2), "two passes by two workers"
    assert orders[0] != orders[1]


PAIRS = [("a", "b"), ("b", "a")]


@pytest.mark.parametrize(("rows", "streamed"), [("resident", []), ("streamed", PAIRS), ("auto", [])])
def test_rows_are_streamed_where_the_user_says(written: Tables, rows: str, streamed: list[tuple[str, str]]) -> None:
    found = streamed_pairs(FitSettings.model_validate({"rows": rows}), features(written), PAIRS)
    assert found == frozenset(streamed)


def test_rows_without_room_are_streamed(written: Tables, local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.fitting.streaming.SMALL", 0)
    assert not streamed_pairs(FitSettings(), features(written), PAIRS)
    monkeypatch.setattr("jobs.fitting.streaming.FILL", 1e-9)
    assert streamed_pairs(FitSettings(), features(written), PAIRS) == frozenset(PAIRS)


@pytest.mark.slow
def test_a_streamed_fit_is_as_good_as_resident_ones(written: Tables, local_ray: None) -> None:
    """Its E on all rows lies among those of fits that hold all rows, with other seeds."""
    folder, X, Y = written
    options = {"iterations": 400, "batch_size": 64, "learning_rate": 0.01, "checkpoint_every": 150}
    settings = FitSettings.model_validate(options | {"rows": "streamed", "pool_rows": 200})
    key, files = MapKey("a", "b", Variant("affine")), Layout(str(folder))
    artifact = Artifact(files.map_manifest(key.name), (), {})
    train_maps(Work(settings, 0, files, features(written), {key: artifact}, start_board(), frozenset([key.pair])))
    found = AffineMap.load(str(folder / "maps" / "a-to-b.safetensors"))
    error = float(unit_distance(found(X), Y).mean())
    resident = []
    for seed in range(8):
        fit = AdamFits(ResidentRows(X, [Y], seed), 6, [4], FitSettings.model_validate(options), seed)
        for _ in range(400):
            fit.step()
        resident.append(float(unit_distance(fit.maps()[0](X), Y).mean()))
    spread = max(resident) - min(resident)
    assert min(resident) - spread <= error <= max(resident) + spread
    curve = read_curve(str(folder / "maps" / "a-to-b.curve.parquet"))["error"].to_numpy()
    assert len(curve) == 400
    assert curve[-50:].std() < 2 * fit.curves()[0][-50:].std()
