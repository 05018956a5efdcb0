"""A network's feature table, named as `features`: everything comes out as of the network itself."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from runs import path_of, run_of

from jobs.cluster.runs import Run
from jobs.extraction import matching
from jobs.planning.finished import inputs
from lib.errors import ManifestMismatch, TableError
from lib.experiment.evaluation_sets import EvaluationSet
from lib.features.reading import read_features
from lib.features.tables import FeatureTables
from lib.storage.files import read_json

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def given(experiment: Path, tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Run:
    """A run of a, b and of a's features twice: from the first run's table, and as .npy in another order."""
    from jobs.extract import extract
    from jobs.pipeline import pipeline

    root = tmp_path_factory.mktemp("given")
    first = run_of(experiment, root / "first")
    extract(first)
    for split in ("train", "val"):
        features = read_features(FeatureTables.open(first.files.features(split)), ["a"])
        order = np.random.default_rng(0).permutation(len(features.image_id))
        np.save(root / f"{split}.npy", features.vectors["a"][order].astype(np.float64))
        (root / f"{split}.txt").write_text("\n".join(features.image_id[order]))
    tables = f"{first.files.folder}/features"
    head = f"{first.files.folder}/classifiers/a.safetensors"
    places = ", ".join(f'{split}="{tables}/{split}/a+b/*.parquet"' for split in ("train", "val"))
    npy = ", ".join(f'{split}="{root}/{split}.npy"' for split in ("train", "val"))
    run = run_of(
        experiment,
        root,
        f'networks.table={{features={{{places}, vector="a"}}, classifier="{head}"}}',
        f"networks.npy={{features={{{npy}}}}}",
        'fit.families=["affine"]',
        "fit.iterations=20",
    )
    assert pipeline(run) > 0
    return run


def test_a_table_of_features_has_the_images_rows_in_the_same_files(given: Run) -> None:
    for split in ("train", "val"):
        tables = FeatureTables.open(given.files.features(split))
        found = read_features(tables, ["a", "table", "npy"])
        np.testing.assert_array_equal(found.vectors["table"], found.vectors["a"])
        np.testing.assert_array_equal(found.vectors["npy"], found.vectors["a"])
        ids = {
            name: [pq.read_table(file)["image_id"].to_pylist() for file in sorted(Path(folder).glob("*.parquet"))]
            for name in ("a", "table")
            for folder in [tables.table(name).folder]
        }
        assert ids["a"] == ids["table"], "so that chunks of several tables read whole files of each"


def test_many_rows_are_grouped_by_ray_data_and_come_out_the_same(given: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, with buckets of 20 rows: images in parts that other vectors' buckets fill, and two files of vectors."""
    from jobs.extract import extract

    folder = Path(FeatureTables.open(given.files.features("val")).table("table").folder)
    before = {path.name: pq.read_table(path) for path in folder.glob("*.parquet")}
    shutil.rmtree(folder)
    monkeypatch.setattr(matching, "BUCKET_ROWS", 20)
    assert extract(Run(given.written, given.root, begun=given.begun)) == 1
    after = {path.name: pq.read_table(path) for path in folder.glob("*.parquet")}
    assert len(before) > 2
    assert after == before


def test_results_are_those_of_the_network_itself(given: Run) -> None:
    results = read_json(path_of(given, "results.json"))
    found = {(row["source"], row["target"]): row for row in results["mappings"]}
    for key in ("correct", "loss", "validation_error", "length_ratio", "regions", "fit_error", "feature_fit"):
        assert found["table", "b"][key] == found["a", "b"][key]
        assert found["b", "table"][key] == found["b", "a"][key]
    assert found["npy", "b"]["correct"] == found["a", "b"]["correct"]
    assert {row["target"] for row in results["feature_mappings"]} == {"npy"}


def test_it_is_skipped_when_finished_and_refused_when_the_files_are_others(given: Run, tmp_path: Path) -> None:
    from jobs.extract import extract

    assert extract(given) == 0
    before = inputs(given)
    assert before is not None
    assert {f"{given.root}/{split}.{kind}" for split in ("train", "val") for kind in ("npy", "txt")} < set(before)
    written = Path(given.root) / "val.npy"
    np.save(written, 2 * np.load(written))
    assert inputs(given) != before, "so that a finished run's seal is broken"
    again = Run(given.written, given.root)
    with pytest.raises(ManifestMismatch, match="weights was"):
        extract(again)


def test_missing_and_repeated_ids_are_named(experiment: Path, given: Run, tmp_path: Path) -> None:
    from jobs.extract import extract

    for split in ("train", "val"):
        shutil.copy(Path(given.root) / f"{split}.npy", tmp_path)
        ids = (Path(given.root) / f"{split}.txt").read_text().splitlines()
        (tmp_path / f"{split}.txt").write_text("\n".join(["other", *ids[1:]] if split == "train" else ids))
    npy = ", ".join(f'{split}="{tmp_path}/{split}.npy"' for split in ("train", "val"))
    with pytest.raises(
        TableError, match=f"1 of the 96 images of train have no vector there, such as {ids_first(given)}"
    ):
        extract(run_of(experiment, tmp_path / "root", f"networks.npy={{features={{{npy}}}}}"))


def ids_first(given: Run) -> str:
    """The id of the first row of train.npy."""
    return (Path(given.root) / "train.txt").read_text().splitlines()[0]


def test_a_further_set_has_given_features_and_no_targets_without_a_classifier(given: Run) -> None:
    """val's very images once more: what is found on them is what is found on val."""
    from jobs.pipeline import pipeline

    again = EvaluationSet(location=given.written.images.val.location)
    images = given.written.images.model_copy(update={"eval": {"again": again}})
    run = Run(given.written.model_copy(update={"images": images}), given.root, begun=given.begun)
    assert pipeline(run) > 0
    results = read_json(run.files.results)
    one = results["eval"]["again"]
    assert set(one["networks"]) == {"a", "b", "table"}
    keys = ("source", "target", "correct", "loss", "loss_ci95", "regions", "p_holm", "classifier")
    assert [[row.get(key) for key in keys] for row in one["mappings"]] == [
        [row.get(key) for key in keys] for row in results["mappings"]
    ]
    assert {row["source"] for row in one["mappings"]} == {"a", "b", "table", "npy"}


def test_embeddings_of_what_are_no_images_are_compared_too(tmp_path: Path, local_ray: None) -> None:
    """Ids without files, labels or classifiers, as of texts: a known map is found, and queries find their own."""
    from jobs.pipeline import pipeline

    draw = np.random.default_rng(0)
    A, turn = draw.normal(size=(150, 6)), np.linalg.qr(draw.normal(size=(6, 6)))[0]
    A /= np.linalg.norm(A, axis=1, keepdims=True)  # vectors of unit length and a rotation: no length is left to explain
    ids = np.array([f"text {k}" for k in range(150)])
    for name, vectors in (("old", A), ("new", A @ turn)):
        np.save(tmp_path / f"{name}.npy", vectors)
        (tmp_path / f"{name}.txt").write_text("\n".join(ids))
    for split, theirs in (("train", ids[:100]), ("val", ids[100:])):
        (tmp_path / f"{split}.csv").write_text("\n".join(["path", *theirs]))
    (tmp_path / "texts.toml").write_text(f"""
[images]
train = "{tmp_path}/train.csv"
val = "{tmp_path}/val.csv"
[networks.old]
features = "{tmp_path}/old.npy"
[networks.new]
features = "{tmp_path}/new.npy"
[fit]
families = ["least_squares"]
ranks = []
""")
    run = run_of(tmp_path / "texts.toml", tmp_path)
    assert pipeline(run) > 0
    results = read_json(path_of(run, "results.json"))
    assert results["mappings"] == []
    found = {(row["source"], row["target"]): row for row in results["feature_mappings"]}
    assert found["old", "new"]["skill"] > 0.99
    assert found["old", "new"]["feature_fit"]["recall_at_1"] == 1
    assert found["old", "new"]["feature_fit"]["rows"] == 50
    table = pq.read_table(path_of(run, "retrieval.parquet")).to_pylist()
    assert [row["training_rows"] for row in table if row["target"] == "new"][-1] == 100
    page = Path(path_of(run, "report.html")).read_text()
    assert "No network has a classifier" in page
    assert "Queries in another network" in page
