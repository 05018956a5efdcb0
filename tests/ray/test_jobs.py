"""Stages on a real local Ray: units of work give equal arrays inside a Dataset, bad images are kept, runs resume."""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from project import PROJECT
from runs import command, path_of, run_of

from jobs.cluster.capacity import Capacity
from jobs.cluster.runs import Run
from jobs.extraction.checks import describe_all
from jobs.extraction.listed import ImagesInMemory
from jobs.extraction.stream import stream_features
from jobs.planning.dry_run import Plan
from lib.errors import ExperimentError, ManifestMismatch, RunError
from lib.evaluation.prediction_tables import maps_in
from lib.evaluation.result_tables import CLASSES, EXAMPLES, MAPS, RETRIEVAL
from lib.experiment.loading import load_experiment
from lib.features.extraction import ExtractFeatures
from lib.features.reading import read_features
from lib.features.schemas import REJECTS
from lib.features.tables import FeatureTables
from lib.images.batches import DecodeImages
from lib.images.geometry import Geometry
from lib.images.listing import list_images
from lib.maps.affine import AffineMap
from lib.maps.error import unit_distance
from lib.storage.files import read_json, write_json
from lib.storage.parquet import read_rows, read_table


@pytest.fixture(scope="module")
def extracted(experiment: Path, tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Path:
    """A root with the finished features of the experiment."""
    from jobs.extract import extract

    root = tmp_path_factory.mktemp("extracted")
    assert extract(run_of(experiment, root)) == 2
    return root


@pytest.fixture
def root(extracted: Path, tmp_path: Path) -> Path:
    """The same, to work on."""
    return Path(shutil.copytree(extracted, tmp_path / "root"))


def test_units_of_work_give_equal_arrays_directly_and_through_ray(experiment: Path, local_ray: None) -> None:
    import ray

    settings = load_experiment(str(experiment))
    listing = list_images(settings.images.val)
    geometry = Geometry((3, 64, 64), 1.0, "center", "bilinear")
    decode = DecodeImages([geometry], 10**8)
    extract = (dict(settings.networks), settings.extract, "cpu", {"a": geometry, "b": geometry})
    direct = ExtractFeatures(*extract)(decode(listing)).sort_by("image_id")
    dataset = ray.data.from_arrow([listing.slice(k, 7) for k in range(0, len(listing), 7)])
    streamed = dataset.map_batches(decode, batch_format="pyarrow", batch_size=7, num_cpus=0.5).map_batches(
        ExtractFeatures,
        fn_constructor_args=extract,
        batch_format="pyarrow",
        batch_size=16,
        compute=ray.data.ActorPoolStrategy(size=1),
        num_cpus=1,
    )
    through = pa.concat_tables([block for block in ray.get(streamed.to_arrow_refs())]).sort_by("image_id")
    assert through["image_id"].equals(direct["image_id"])
    for name in ("a", "b"):
        assert through.schema.field(name).type == direct.schema.field(name).type
        np.testing.assert_array_equal(np.array(through[name].to_pylist()), np.array(direct[name].to_pylist()))


@pytest.mark.slow
def test_networks_have_two_batches_at_once_and_one_heap_beside_what_the_job_says(
    experiment: Path, local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    class Environment:
        def __init__(self, *given: object) -> None:
            self.both = threading.Barrier(2, timeout=60)

        def __call__(self, batch: pa.Table) -> dict[str, np.ndarray]:
            self.both.wait()
            return {name: np.array([os.environ[name]]) for name in ("MALLOC_ARENA_MAX", "PYTHONPATH")}

    monkeypatch.setattr("jobs.extraction.stream.CountedExtractFeatures", Environment)
    monkeypatch.setattr("jobs.extraction.stream.Capacity.now", lambda: Capacity(cpus=2, gpus=0, node_cpus=2))
    settings = load_experiment(str(experiment))
    listing = list_images(settings.images.val)
    networks = dict(settings.networks)
    options = settings.extract.model_copy(update={"batch_size": 3})
    work = np.array([[0, 3], [3, 6]])
    found = stream_features(ImagesInMemory(listing), work, networks, describe_all(networks), options, 10**6).take_all()
    job = ray.get_runtime_context().runtime_env["env_vars"]
    assert found == 2 * [job | {"MALLOC_ARENA_MAX": "1"}]


def test_images_replaced_in_place_are_noticed(experiment: Path, root: Path) -> None:
    from jobs.extract import extract

    file = next((experiment.parent / "val").rglob("*.JPEG"))
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(ManifestMismatch, match=r"val.*was made from other settings: image_files was"):
        extract(run_of(experiment, root))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert extract(run_of(experiment, root)) == 0


def test_bad_images_are_kept_by_reason_and_too_many_fail_the_run(
    experiment: Path, tmp_path: Path, local_ray: None
) -> None:
    from jobs.extract import extract

    listing = tmp_path / "list.csv"
    folder = experiment.parent / "val"
    good = sorted(folder.rglob("*.JPEG"))[:20]
    (tmp_path / "empty.JPEG").touch()
    (tmp_path / "half.JPEG").write_bytes(good[0].read_bytes()[:400])
    names = [*map(str, good), "empty.JPEG", "half.JPEG"]
    listing.write_text("path,label\n" + "".join(f"{name},1\n" for name in names))
    with pytest.raises(RunError, match=r"2 of 22 images.*empty.JPEG: empty"):
        extract(run_of(experiment, tmp_path / "root", f"images.val={listing}"))
    run = run_of(experiment, tmp_path / "root", f"images.val={listing}", "images.max_rejected=0.1")
    assert extract(run) == 1, "the training split was finished, this one goes on"
    manifest = read_json(path_of(run, "features", "val", "a+b", "manifest.json"))
    counts = {"listed": 22, "extracted": 20, "rejected": 2, "reasons": {"empty": 1, "truncated": 1}}
    assert manifest["images"] == counts
    rejects = read_rows(path_of(run, "rejects", "val"), REJECTS)
    assert sorted(rejects["image_id"].to_pylist()) == ["empty.JPEG", "half.JPEG"]
    assert extract(run) == 0


def test_an_interrupted_table_goes_on_and_equals_an_undisturbed_one(experiment: Path, root: Path) -> None:
    """As if killed: no manifest, one part file lost, one cut in the middle."""
    from jobs.extract import extract

    run = run_of(experiment, root)
    folder = Path(path_of(run, "features", "train", "a+b"))
    before = read_features(FeatureTables.open(path_of(run, "features", "train")), ["a", "b"])
    manifest = read_json(str(folder / "manifest.json"))
    write_json(str(folder / "started.json"), {"made_from": manifest["made_from"]})
    (folder / "manifest.json").unlink()
    first, second, *kept = sorted(folder.glob("*.parquet"))
    assert len(set(pq.read_table(first)["label"].to_pylist())) > 6, "a sample of the 12 classes, not the first of them"
    kept_bytes = [path.read_bytes() for path in kept]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-30])
    planned = dict(list(Plan(run).lines())[:1])
    assert planned == {"extract": "train: 32 of 96 images (64 are already done), a table with features of a, b"}
    assert extract(run) == 1
    assert [path.read_bytes() for path in kept] == kept_bytes, "what was written isn't computed again"
    after = read_features(FeatureTables.open(path_of(run, "features", "train")), ["a", "b"])
    assert list(after.image_id) == list(before.image_id)
    for name in ("a", "b"):
        np.testing.assert_array_equal(after.vectors[name], before.vectors[name])


@pytest.mark.slow
def test_a_network_added_later_gets_a_table_and_maps_of_its_own(
    experiment: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All stages but Adam, two networks and then three: what was there stays, and the numbers of all are there."""
    from jobs.extract import extract

    closed = ['fit.families=["least_squares", "orthogonal", "classifiers"]', "fit.ranks=[2, 500]"]
    run = run_of(experiment, root, *closed)
    third = 'networks.c={model="test_vit", weights="random", options={num_classes=12}}'
    more = run_of(experiment, root, *closed, third)
    evaluate_maps(run)
    assert list(Plan(run).lines()) == FINISHED
    assert Plan(run).estimate(2) == ""
    maps = root / "tiny" / "maps"
    before = {path.name: path.stat().st_mtime_ns for path in maps.iterdir()}
    full = {f"a-to-b.{name}" for name in ("least_squares", "orthogonal", "classifiers")}
    kept = {name for name in before if name.startswith("a-to-b.")}
    assert kept == {f"{name}.{end}" for name in full for end in ("safetensors", "manifest.json")}
    curves = pq.read_schema(root / "tiny" / "predictions" / "a-to-b.curves" / "part-000000.parquet")
    shares = [f"least_squares_1of{k}rows" for k in (16, 8, 4, 2)]
    assert maps_in(curves) == ["least_squares_rank2", *shares], "of 64 features none is the 500th"
    planned = list(Plan(more).lines())
    assert planned[:2] == [
        ("extract", "train: 96 of 96 images, a table with features of c"),
        ("extract", "val: 48 of 48 images, a table with features of c"),
    ]
    assert planned[2:4] == [
        ("fit", "12 maps in closed form; curves and controls of 5 pairs"),
        ("predict", "5 tables"),
    ]
    assert extract(more) == 2
    features = read_features(FeatureTables.open(path_of(more, "features", "val")), ["a", "c"])
    assert [len(features.vectors[name]) for name in ("a", "c")] == [48, 48]
    assert sorted(path.name for path in (root / "tiny" / "features" / "val").iterdir()) == ["a+b", "c"]
    evaluate_maps(more)
    after = {path.name: path.stat().st_mtime_ns for path in maps.iterdir()}
    assert len(after) == 3 * len(before)
    assert {name: after[name] for name in before} == before, "pairs that exist aren't fitted again"

    found: dict[str, Any] = read_json(str(root / "tiny" / "results.json"))
    assert len(found["mappings"]) == 6
    assert sorted(found["order"]) == ["a", "b", "c"]
    assert len(found["measures"]) == 3
    rows_of_maps = read_table(str(root / "tiny" / "maps.parquet"), MAPS).to_pylist()
    assert len(rows_of_maps) == 6 * (3 + 5)
    for row in rows_of_maps:
        source = found["networks"][row["source"]]
        wide = found["networks"][row["target"]]["feature_size"] >= 12
        if row["family"] == "classifiers" and wide:
            assert row["correct"] == source["correct"], "the classifiers' map gives the source's own answers"
    of_a_pair = [row for row in rows_of_maps if (row["source"], row["target"], row["rank"]) == ("a", "c", None)]
    of_rows = sorted((row["share"], row["rows"]) for row in of_a_pair if row["family"] == "least_squares")
    rows = [count for _, count in of_rows]
    assert rows == sorted(rows)
    assert len(rows) == 5
    assert rows[-1] == 96
    classes = read_table(str(root / "tiny" / "classes" / "b.parquet"), CLASSES)
    assert sum(classes["total"].to_pylist()) == 2 * 48
    (root / "tiny" / "predictions" / "a-to-b.least_squares.rank2").mkdir()  # as an earlier version wrote it
    check_kept_maps(run_of(experiment, root, *closed, third, "fit.keep=true"))
    said = capsys.readouterr().out
    assert "has 1 of an earlier version's folders, such as a-to-b.least_squares.rank2" in said
    check_report_command(root)
    page = (root / "tiny" / "report.html").read_text()
    assert "a → c" in page
    assert 'alt="' in page or not read_table(str(root / "tiny" / "examples.parquet"), EXAMPLES).num_rows


FINISHED = [
    ("extract", "train: all features are finished"),
    ("extract", "val: all features are finished"),
    ("fit", "all maps are finished"),
    ("predict", "all predictions are finished"),
    ("evaluate", "results.json is finished"),
    ("report", "the report is finished"),
]


def check_kept_maps(run: Run) -> None:
    """`fit.keep` makes the curves' predictions anew, the same as before, and keeps the maps that make them."""
    from jobs.fit import fit
    from jobs.predict import predict

    file = Path(path_of(run, "predictions", "a-to-b.curves", "part-000000.parquet"))
    before = pq.read_table(file)
    assert fit(run) == 9, "pairs, and each network with itself"
    after = pq.read_table(file)
    assert after.equals(before)
    assert predict(run) == 0
    features = read_features(FeatureTables.open(path_of(run, "features", "val")), ["a", "b"])
    place = {image_id: number for number, image_id in enumerate(features.image_id)}
    order = [place[image_id] for image_id in after["image_id"].to_pylist()]
    F_A, F_B = (torch.from_numpy(features.vectors[name][order]) for name in ("a", "b"))
    for name in ("rank2", "1of4rows"):
        map_ = AffineMap.load(path_of(run, "maps", f"a-to-b.least_squares.{name}.safetensors"))
        assert len(map_.factors) == (2 if name == "rank2" else 1)
        expected = unit_distance(F_B, map_(F_A))
        np.testing.assert_allclose(after[f"error_least_squares_{name}"], expected, rtol=1e-3)
    check_retrieval(run, F_A.numpy(), F_B.numpy())


def check_retrieval(run: Run, F_A: np.ndarray, F_B: np.ndarray) -> None:
    """What queries of a, mapped, find in b's index is what sorted cosines say, by training images of the map."""
    table = read_table(path_of(run, "retrieval.parquet"), RETRIEVAL).to_pylist()
    rows = [row for row in table if (row["source"], row["target"]) == ("a", "b")]
    assert [row["training_rows"] for row in rows] == sorted(row["training_rows"] for row in rows)
    assert [row["variant"].rpartition(".")[2] for row in rows] == [
        *(f"1of{k}rows" for k in (16, 8, 4, 2)), "least_squares",
    ]  # fmt: skip

    def unit(F: np.ndarray) -> np.ndarray:
        return F / np.linalg.norm(F, axis=1, keepdims=True)

    def others(cosine: np.ndarray) -> np.ndarray:
        return np.argsort(-(cosine - 4 * np.eye(len(cosine))), axis=1)[:, :10]

    for row in (rows[2], rows[4]):
        M = AffineMap.load(path_of(run, "maps", f"a-to-b.{row['variant']}.safetensors"))
        cosine = unit(F_A.astype(float) @ M.weight.numpy().T.astype(float) + M.bias.numpy()) @ unit(F_B.astype(float)).T
        ranks = 1 + (cosine > np.diag(cosine)[:, None]).sum(1)
        near, true = others(cosine), others(unit(F_B.astype(float)) @ unit(F_B.astype(float)).T)
        shared = [len(set(a) & set(b)) / 10 for a, b in zip(near, true, strict=True)]
        assert row["rows"] == len(F_A)
        assert row["recall_at_1"] == pytest.approx((ranks == 1).mean())
        assert row["recall_at_10"] == pytest.approx((ranks <= 10).mean())
        assert row["mean_rank"] == pytest.approx(ranks.mean())
        assert row["neighbours_at_1"] == pytest.approx((near[:, 0] == true[:, 0]).mean())
        assert row["neighbours_at_10"] == pytest.approx(np.mean(shared))


def check_report_command(root: Path) -> None:
    """`python -m jobs.report`: one folder drawn anew, two beside each other, and what has no results refused."""
    from jobs.report import main

    folder, copy, out = root / "tiny", root / "copy", root / "comparison.html"
    (folder / "report.html").unlink()
    assert main([str(folder)]) == 0
    assert (folder / "report.html").exists()
    copy.mkdir()
    shutil.copy(folder / "results.json", copy)
    assert main([str(copy)]) == 1, "the tables beside it are missing"
    assert main([str(folder), str(copy), "--out", str(out)]) == 0
    assert str(copy) in out.read_text()
    assert main([str(folder), str(folder), "--out", str(out)]) == 1
    assert main(["demo", "--root", str(root)]) == 1


def evaluate_maps(run: Run) -> None:
    """All stages that follow the extraction, in this process."""
    from jobs.evaluate import evaluate
    from jobs.fit import fit
    from jobs.predict import predict
    from jobs.report import report

    for stage in (fit, predict, evaluate, report):
        assert stage(run) > 0


def test_images_in_both_splits_are_found_by_their_features(extracted: Path) -> None:
    from jobs.evaluation.shared_images import count_shared, refuse_shared

    train, val = (FeatureTables.open(str(extracted / "tiny" / "features" / split)) for split in ("train", "val"))
    assert count_shared("fit", train, val, ["a", "b"]).count == 0
    same = count_shared("fit", train, train, ["a", "b"])
    assert (same.count, same.total, len(same.few)) == (96, 96, 3)
    refuse_shared(same, 1.0)
    with pytest.raises(ExperimentError, match=r"96 of the 96 images of val have the features.*max_shared.*0\.001"):
        refuse_shared(same, 0.001)


def test_labels_that_are_no_class_are_refused_before_work(experiment: Path, tmp_path: Path, local_ray: None) -> None:
    from jobs.extract import extract

    listing = tmp_path / "list.csv"
    listing.write_text(f"path,label\n{sorted((experiment.parent / 'val').rglob('*.JPEG'))[0]},12\n")
    with pytest.raises(ExperimentError, match=r"images\.val: label 12.*12 classes"):
        extract(run_of(experiment, tmp_path, f"images.val={listing}"))
    with pytest.raises(ExperimentError, match=r"12 class folders, but network 'a' has 20"):
        extract(run_of(experiment, tmp_path, "networks.a.options={num_classes=20}"))


def test_bad_experiments_exit_with_2_before_ray_starts(experiment: Path, tmp_path: Path) -> None:
    begin = time.monotonic()
    bad = subprocess.run(command(experiment, tmp_path, "fit.iterations=0"), cwd=PROJECT, capture_output=True, text=True)
    assert bad.returncode == 2
    assert "fit.iterations" in bad.stderr
    assert "Ray" not in bad.stderr
    assert time.monotonic() - begin < 60


def test_maps_of_other_settings_are_refused(experiment: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from jobs.cluster.commands import exit_code
    from jobs.extract import extract
    from jobs.fit import fit

    one, other = (run_of(experiment, root, f"limit={n}", 'fit.families=["classifiers"]') for n in (96, 40))
    assert extract(one) == 0
    assert fit(one) == 2
    assert exit_code(lambda: extract(other)) == 1
    assert "--overwrite" in capsys.readouterr().err.splitlines()[-1]
