"""The demo's pictures and networks: determined by their seeds, in timm's terms, and able to learn."""

import io
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from lib.demo.networks import BATCH, SIZE, normalise, read_pictures, train_network
from lib.demo.pictures import CLASSES, draw_picture, draw_split
from lib.networks.pooling import pooled_features


def test_a_picture_is_determined_by_its_arguments() -> None:
    first, again, other = (np.asarray(draw_picture(3, 64, seed)) for seed in ((0, 5), (0, 5), (0, 6)))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.shape == (64, 64, 3)


def test_a_split_is_the_same_however_it_is_divided(tmp_path: Path) -> None:
    draw_split(str(tmp_path / "whole"), 24, 32, 7)
    for first, last in ((0, 5), (5, 24)):
        draw_split(str(tmp_path / "parts"), 24, 32, 7, first, last)
    whole = {path.relative_to(tmp_path / "whole"): path.read_bytes() for path in (tmp_path / "whole").rglob("*.JPEG")}
    parts = {path.relative_to(tmp_path / "parts"): path.read_bytes() for path in (tmp_path / "parts").rglob("*.JPEG")}
    assert whole == parts
    assert sorted({path.parts[0] for path in whole}) == list(CLASSES)
    assert all(Image.open(io.BytesIO(data)).format == "JPEG" for data in whole.values())
    pixels, labels = read_pictures(str(tmp_path / "whole"))
    assert pixels.shape == (24, 3, SIZE, SIZE), "resized to what the networks take"
    assert torch.bincount(labels).tolist() == [2] * 12


def test_the_two_networks_differ_in_feature_size() -> None:
    sizes = [timm.create_model(name, num_classes=12).num_features for name in ("small_inception", "small_resnet")]
    assert len(set(sizes)) == 2


@pytest.mark.parametrize("name", ["small_inception", "small_resnet"])
def test_training_learns_and_repeats(name: str) -> None:
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    pixels = (torch.rand(64, 3, SIZE, SIZE, generator=draw) * 100 + 120 * labels.view(-1, 1, 1, 1)).to(torch.uint8)
    states = []
    for _ in range(2):
        torch.manual_seed(1)
        model = timm.create_model(name, num_classes=2)
        train_network(model, pixels, labels, 8, 1, lambda line: None)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    with torch.inference_mode():
        x = normalise(model, pixels)
        assert (model(x).argmax(1) == labels).float().mean() > 0.9
        torch.testing.assert_close(model.get_classifier()(pooled_features(model, x)), model(x))


@pytest.mark.parametrize("name", ["small_inception", "small_resnet"])
def test_a_last_batch_of_one_picture_is_trained_on(name: str) -> None:
    pixels, labels = torch.zeros(BATCH + 1, 3, SIZE, SIZE, dtype=torch.uint8), torch.zeros(BATCH + 1).long()
    train_network(timm.create_model(name, num_classes=2), pixels, labels, 1, 0, lambda line: None)
