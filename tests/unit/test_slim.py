"""TF-Slim's networks, names and preprocessing against what TensorFlow computed (shared/slim); the import command."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from torch import nn

from jobs.import_slim import main
from lib.errors import CheckpointError, NetworkError
from lib.experiment.network_settings import NetworkSettings
from lib.images.decoding import decode
from lib.images.slim_preprocessing import slim_pixels
from lib.networks.network import Network
from lib.networks.pooling import pooled_features
from lib.slim.checkpoints import Variables, read_checkpoint
from lib.slim.variables import slim_state_dict, variable_names

pytest.importorskip("google_crc32c", reason="the `slim` extra isn't installed")
SMALL, CLOSE = "slim_resnet_v2_small", 5e-6  # of max|expected|


def assert_close(found: torch.Tensor, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found.numpy() - expected).max() <= CLOSE * np.abs(expected).max()


def network_of(name: str, state: dict[str, torch.Tensor]) -> nn.Module:
    model: nn.Module = timm.create_model(name).eval()
    model.load_state_dict(state)
    return model


@torch.inference_mode()
def check_outputs(model: nn.Module, golden: dict[str, np.ndarray], pixels: np.ndarray, size: int) -> None:
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert_close(pooled_features(model, x), golden[f"features_{size}"])
    assert_close(model(x), golden[f"logits_{size}"])


@pytest.mark.parametrize("size", [299, 65, 64])
def test_small_resnet_computes_what_tensorflow_does(slim: Path, size: int) -> None:
    uri = str(slim / "small_resnet_v2.v2.ckpt")
    model = network_of(SMALL, slim_state_dict(uri, SMALL, read_checkpoint(uri)))
    golden = dict(np.load(slim / "small_resnet_v2.expected.npz"))
    check_outputs(model, golden, golden[f"u8_{size}"], size)


def regrown(shapes: dict[str, list[int]]) -> Variables:
    """The full networks' weights, drawn again as shared/slim/README.md says."""
    draw = np.random.RandomState(1234)
    kinds = {
        "gamma": lambda shape: draw.uniform(0.5, 1.5, shape),
        "beta": lambda shape: draw.normal(0, 0.2, shape),
        "moving_mean": lambda shape: draw.normal(0, 0.3, shape),
        "moving_variance": lambda shape: draw.uniform(0.5, 1.5, shape),
        "biases": lambda shape: draw.normal(0, 0.1, shape),
    }

    def weights(name: str, shape: list[int]) -> np.ndarray:
        gain = 0.1 if "/conv3/" in name else 1.0 if "ogits" in name else 2.0
        return draw.normal(0, np.sqrt(gain / np.prod(shape[:-1])), shape)

    found = {}
    for name, shape in sorted(shapes.items()):
        kind = name.rpartition("/")[2]
        found[name] = (kinds[kind](shape) if kind in kinds else weights(name, shape)).astype(np.float32)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet_v2_152", "inception_v4"])
def test_full_networks_compute_what_tensorflow_does(slim: Path, name: str) -> None:
    variables = regrown(json.loads((slim / f"{name}.vars.json").read_text()))
    variables["global_step"] = np.array(1)  # as the released checkpoints have it
    model = network_of(f"slim_{name}", slim_state_dict("here", f"slim_{name}", variables))
    golden = dict(np.load(slim / f"{name}.expected.npz"))
    for size in [size for size in (299, 224) if f"features_{size}" in golden]:
        pixels = np.random.RandomState(100 + size).randint(0, 256, (1, size, size, 3)).astype(np.uint8)
        assert hashlib.sha256(pixels.tobytes()).digest() == golden[f"u8sha256_{size}"].tobytes()
        check_outputs(model, golden, pixels, size)


@pytest.mark.parametrize("depth", [50, 101, 200])
def test_other_depths_have_as_many_layers_as_their_names_say(depth: int) -> None:
    """Convolutions on the way, shortcuts not counted, and the last layer."""
    names = variable_names(timm.create_model(f"slim_resnet_v2_{depth}"))
    assert sum(name.endswith("/weights") and "/shortcut/" not in name for name in names.values()) == depth


def test_without_background_labels_keep_their_scores(slim: Path) -> None:
    uri = str(slim / "small_resnet_v2.v1.ckpt")
    variables = read_checkpoint(uri)
    full = slim_state_dict(uri, SMALL, variables)
    dropped = slim_state_dict(uri, SMALL, variables, background=False)
    assert torch.equal(dropped["head.fc.weight"], full["head.fc.weight"][1:])
    assert torch.equal(dropped["head.fc.bias"], full["head.fc.bias"][1:])


def test_wrong_variables_are_named(slim: Path) -> None:
    variables = read_checkpoint(str(slim / "small_resnet_v2.v1.ckpt"))
    del variables["resnet_v2_small/postnorm/beta"]
    variables["resnet_v2_small/extra"] = np.zeros(3, np.float32)
    variables["resnet_v2_small/conv1/weights"] = np.zeros((7, 7, 3, 63), np.float32)
    variables["resnet_v2_small/logits/biases"] = np.zeros(17, np.int64)
    with pytest.raises(CheckpointError) as caught:
        slim_state_dict("here", SMALL, variables)
    for part in (
        "here isn't a checkpoint of slim_resnet_v2_small",
        "postnorm/beta is missing",
        "resnet_v2_small/extra is unexpected",
        "conv1/weights is float32 (7, 7, 3, 63), must be float32 (7, 7, 3, 64)",
        "logits/biases is int64 (17,), must be float32 (17,)",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("key", "file"), [("img0", "img0_500x375.png"), ("img1", "img1_187x251.png"), ("img2", "img2_331x480.png")]
)
def test_preprocessing_is_bit_equal_to_tensorflows(slim: Path, key: str, file: str) -> None:
    with Image.open(slim / file) as image:
        pixels = 2 * (slim_pixels(np.asarray(image.convert("RGB")), (299, 299)) - np.float32(0.5))
    golden = dict(np.load(slim / "preprocess_expected.npz"))
    assert np.abs(pixels[::5, ::5] - golden[f"{key}_f32_every5"]).max() <= 1e-6
    expected = json.loads((slim / "preprocess_expected.json").read_text())[key]
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == expected["sha256_f32"]


def test_jpeg_is_bit_equal_to_tensorflows(slim: Path) -> None:
    pytest.importorskip("simplejpeg", reason="the `slim` extra isn't installed")
    data = (slim / "img0.jpg").read_bytes()
    image = np.asarray(decode(data, 10**8, "fastdct"))
    expected = json.loads((slim / "preprocess_expected.json").read_text())["img0.jpg"]
    assert hashlib.sha256(image.tobytes()).hexdigest() == expected["tf_default_decode_sha256"]
    assert np.abs(np.asarray(decode(data, 10**8)).astype(int) - image).max() > 1, "Pillow's decoder is another one"


def test_imported_weights_are_a_network_of_an_experiment(slim: Path, tmp_path: Path) -> None:
    """The command, then lib.networks with TF-Slim's preprocessing: the same scores as TensorFlow's."""
    pytest.importorskip("simplejpeg", reason="the `slim` extra isn't installed")
    out = tmp_path / "weights" / "small.safetensors"
    assert main([str(slim / "small_resnet_v2.v1.ckpt"), "--network", SMALL, "--out", str(out)]) == 0
    preprocessing = {"transform": "slim", "jpeg": "fastdct", "input_size": 65}
    settings = {"model": SMALL, "weights": str(out), "class_offset": 1, "preprocessing": preprocessing}
    network = Network("small", NetworkSettings.model_validate(settings))
    golden = dict(np.load(slim / "small_resnet_v2.expected.npz"))
    with torch.inference_mode():
        found = network.features(network.normalise(golden["u8_65"].astype(np.float32) / np.float32(255)))
    assert_close(found, golden["features_65"])
    assert_close(network.classifier(found), golden["logits_65"])
    assert network.classifier.classes == 16
    image = Image.new("RGB", (80, 60), (255, 0, 51))
    np.testing.assert_allclose(network.geometry.pixels(image)[30, 30], [1, 0, 0.2], atol=1e-6)


def test_import_that_fails_writes_nothing(slim: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = tmp_path / "short.ckpt"
    short.write_bytes((slim / "small_resnet_v2.v1.ckpt").read_bytes()[:-1000])
    out = tmp_path / "out.safetensors"
    assert main([str(short), "--network", SMALL, "--out", str(out)]) == 1
    assert "truncated" in capsys.readouterr().err
    other = ["--network", "slim_resnet_v2_50", "--out", str(out)]
    assert main([str(slim / "small_resnet_v2.v2.ckpt"), *other]) == 1
    assert "isn't a checkpoint of slim_resnet_v2_50" in capsys.readouterr().err
    assert not out.exists()


def test_import_can_drop_the_background(slim: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small.safetensors"
    command = [str(slim / "small_resnet_v2.v2.ckpt"), "--network", SMALL, "--out", str(out), "--drop-background"]
    assert main(command) == 0
    assert "options = { num_classes = 16 }" in capsys.readouterr().out
    assert safetensors.torch.load_file(out)["head.fc.bias"].shape == (16,)
    Network(
        "small", NetworkSettings.model_validate({"model": SMALL, "weights": str(out), "options": {"num_classes": 16}})
    )
    with pytest.raises(NetworkError, match="doesn't fit"):
        Network("small", NetworkSettings.model_validate({"model": SMALL, "weights": str(out)}))
