"""The experiment of a supervised network, DINOv2 and CLIP, with random weights and heads in place of fetched ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from project import EXPERIMENTS
from torch import nn

from jobs.import_head import main as import_head
from lib.experiment.loading import load_experiment
from lib.networks.network import Network

CLASSES = 1000


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize("name", ["supervised", "dinov2", "clip"])
def test_each_network_of_the_file_is_split_and_takes_its_head(name: str, tmp_path: Path) -> None:
    heads = {"dinov2": tmp_path / "dinov2.pth", "clip": tmp_path / "clip.safetensors"}
    overrides = [f"networks.{other}.classifier={path}" for other, path in heads.items()]
    weight, texts = torch.randn(CLASSES, 2 * 768), np.random.default_rng(0).normal(size=(CLASSES, 512))
    if name == "dinov2":
        torch.save({"weight": weight, "bias": torch.zeros(CLASSES)}, heads[name])
    elif name == "clip":
        np.save(tmp_path / "texts.npy", texts.astype(np.float32))
        made = [str(tmp_path / "texts.npy"), "--network", "foundation:clip", "--set", "weights=random"]
        assert import_head([*made, "--out", str(heads[name])]) == 0
    settings = load_experiment("foundation", [*overrides, f"networks.{name}.weights=random"], EXPERIMENTS)
    network = Network(name, settings.networks[name])
    network.check_split()
    assert network.classifier is not None
    assert network.classifier.classes == CLASSES
    x = torch.randn(1, 3, 224, 224)
    assert network.geometry.input_size == (3, 224, 224)
    if name == "dinov2":
        tokens = network.model.forward_features(x)
        F = torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1)
        torch.testing.assert_close(network.classifier(network.features(x)), F @ weight.T, rtol=1e-3, atol=1e-3)
        assert round(224 / network.geometry.crop_pct) == 256
    elif name == "clip":
        v = nn.functional.normalize(network.model(x), dim=1)
        T = nn.functional.normalize(torch.from_numpy(texts).float(), dim=1)
        assert torch.equal(network.classifier(network.features(x)).argmax(1), (v @ T.T).argmax(1))
        assert type(network.model.blocks[0].mlp.act).__name__ == "QuickGELU"
