"""The pipeline from S3 to S3 while the store throttles, interrupted and gone on with; no secrets in what it writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import timm
from project import PROJECT

from jobs.report import main

pytest.importorskip("moto.server")
import store as stores
from store import KEY, SECRET, Store

pytestmark = pytest.mark.slow


def run(experiment: Path, store: Store, folder: Path) -> str:
    """The pipeline in processes of its own, with the store as its environment says; its log."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RAY_"))}
    done = subprocess.run(
        [sys.executable, "-m", "jobs.pipeline", str(experiment), "--root", "s3://bucket/runs"],
        cwd=PROJECT, capture_output=True, text=True,
        env=environment | store.environment() | {"XDG_CACHE_HOME": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:] + done.stdout[-3000:]
    return done.stdout + done.stderr


@pytest.fixture
def on_s3(store: Store, experiment: Path, tmp_path: Path) -> Path:
    """The tiny experiment with its pictures and one network's weights in the bucket."""
    for path in experiment.parent.rglob("*.JPEG"):
        store.put(f"pictures/{path.relative_to(experiment.parent)}", path.read_bytes())
    state = timm.create_model("test_resnet", num_classes=12).state_dict()
    store.put("a.safetensors", safetensors.torch.save(state))
    written = experiment.read_text().replace(str(experiment.parent), "s3://bucket/pictures")
    written = written.replace('weights = "random"', 'weights = "s3://bucket/a.safetensors"', 1)
    path = tmp_path / "tiny.toml"
    path.write_text(written + 'families = ["affine", "least_squares"]\nranks = [2]\nlearning_curve = false\n')
    return path


@pytest.mark.timeout(1800)
def test_the_pipeline_from_s3_to_s3_goes_on_while_the_store_throttles(
    store: Store, on_s3: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every seventh request fails. Then as if killed while it extracted: the same results, from what was kept."""
    store.rule = stores.every(7)
    log = run(on_s3, store, tmp_path)
    statuses = [status for _, _, status in store.log]
    assert min(statuses.count(500), statuses.count(503)) > 20
    keys = {key.removeprefix("runs/tiny/") for key in store.keys("runs/")}
    for name in ("results.json", "report.html", "table1.md", "figures/error_curves.svg", "examples.parquet"):
        assert name in keys
    for name in ("maps/a-to-b.safetensors", "maps/b-to-a.curve.parquet", "classifiers/a.safetensors"):
        assert name in keys
    assert any("/train/a-to-b.pt" in path for method, path, _ in store.log if method == "PUT")
    assert not [key for key in keys if key.startswith("train/") and not key.endswith("/")], "removed when fitted"
    results = json.loads(store.get("runs/tiny/results.json"))
    assert results["images"]["train"]["extracted"] == 96

    folder = "runs/tiny/features/train/a+b"
    part, *kept = [key for key in store.keys(folder) if key.endswith(".parquet")]
    lost = pq.read_metadata(pa.BufferReader(store.get(part))).num_rows
    made_from = json.loads(store.get(f"{folder}/manifest.json"))["made_from"]
    store.put(f"{folder}/started.json", json.dumps({"made_from": made_from}).encode())
    for key in (part, f"{folder}/manifest.json", *(f"runs/tiny/results{end}.json" for end in ("", ".manifest"))):
        store.client.delete_object(Bucket="bucket", Key=key)
    store.log.clear()
    log += run(on_s3, store, tmp_path)
    assert f"train: {lost} images to do, {96 - lost} are already done" in log
    assert "[fit] a -> b is finished, skipped" in log
    rewritten = {path for method, path, _ in store.log if method == "PUT"}
    assert not [key for key in kept if any(key.rpartition("/")[2] in path for path in rewritten)]
    assert json.loads(store.get("runs/tiny/results.json")) == results

    store.rule = stores.passed
    store.client.delete_object(Bucket="bucket", Key="runs/tiny/report.html")
    assert main(["s3://bucket/runs/tiny"]) == 0
    assert "features → classifier" in capsys.readouterr().out
    assert store.get("runs/tiny/report.html").startswith(b"<!doctype html>")
    for content in [log.encode(), *map(store.get, store.keys())]:
        assert SECRET.encode() not in content
        assert KEY.encode() not in content
