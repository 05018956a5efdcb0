"""Batch norms taken into convolutions: the same features, and nothing taken where they would change."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from timm.layers import StdConv2d
from torch import nn

from lib.experiment.network_settings import NetworkSettings, Preprocessing
from lib.experiment.settings import ExtractSettings
from lib.features.extraction import ExtractFeatures
from lib.networks.fusing import fuse_batch_norms
from lib.networks.network import Network


def give_statistics(model: nn.Module) -> None:
    """Make all batch norms do something: those of random networks have mean 0 and variance 1."""
    draw = torch.Generator().manual_seed(1)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.3, generator=draw)
            norm.running_var.uniform_(0.3, 2, generator=draw)
            norm.weight.uniform_(0.5, 1.5, generator=draw)
            norm.bias.normal_(0, 0.3, generator=draw)


def norms(model: nn.Module) -> int:
    """How many batch norms a model has."""
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize(
    ("model", "left"),
    [("mnasnet_small", 0), ("resnet18", 0), ("resnetv2_18", 9), ("repvgg_a0", 17), ("vit_tiny_patch16_224", 0)],
)
def test_features_stay_the_same(model: str, left: int) -> None:
    """Norms before convolutions, and those of identities, stay: of ResNetV2 the first of each block and the last."""
    network = Network("it", NetworkSettings(model=model, weights="random"))
    give_statistics(network.model)
    x = torch.randn(3, *network.geometry.input_size, generator=torch.Generator().manual_seed(2))
    count = norms(network.model)
    with torch.inference_mode():
        before = network.features(x)
        assert fuse_batch_norms(network) == count - left
        after = network.features(x)
    assert norms(network.model) == left
    torch.testing.assert_close(after, before, rtol=1e-4, atol=2e-5 * float(before.abs().max()))
    assert not network.model.training


@pytest.mark.parametrize(
    ("precision", "size", "rounding"), [("float32", 224, 1e-5), ("float32", 64, 1e-5), ("bfloat16", 224, 0.02)]
)
def test_extraction_on_a_cpu_fuses_and_gives_timms_features(precision: str, size: int, rounding: float) -> None:
    """With 64 pixels, oneDNN convolves in another way, for which weights may not be tensors of inference mode."""
    settings = NetworkSettings(model="resnet18", weights="random", preprocessing=Preprocessing(input_size=size))
    options = ExtractSettings(batch_size=1, threads=1, precision=precision)
    extract = ExtractFeatures({"it": settings}, options, "cpu")
    assert norms(extract.networks["it"].model) == 0
    pixels = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    with torch.inference_mode():
        alone = Network("it", settings)
        expected = alone.features(alone.normalise(pixels)).numpy()
    largest = float(np.abs(expected).max())
    np.testing.assert_allclose(extract.vectors("it", pixels), expected, rtol=1e-4, atol=rounding * largest)


class Blocks(nn.Module):
    """A network of which one norm can be taken: the others' convolutions give, or do, more than that."""

    def __init__(self, forked: bool) -> None:
        super().__init__()
        self.forked = forked
        self.first, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.standardised, self.its_norm = StdConv2d(4, 4, 3), nn.BatchNorm2d(4)
        self.shared, self.shared_norm, self.other_norm = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.between, self.late_norm = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled planes (n, 4) of images (n, 3, h, w)."""
        planes = self.first(x)
        x = self.norm(planes).relu()
        if self.forked:
            x = x + planes
        x = self.its_norm(self.standardised(x))
        x = self.other_norm(self.shared(self.shared_norm(self.shared(x))))
        return self.late_norm(self.between(x).relu()).mean((2, 3))


def wrapped(model: nn.Module) -> SimpleNamespace:
    """What fuse_batch_norms needs of a network."""
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return SimpleNamespace(model=model, features=model, random_images=lambda: images)


def test_only_what_may_be_taken_is_taken() -> None:
    torch.manual_seed(0)
    model = Blocks(forked=False).eval().requires_grad_(False)
    give_statistics(model)
    network = wrapped(model)
    before = model(network.random_images())
    assert fuse_batch_norms(network) == 1
    assert isinstance(model.norm, nn.Identity)
    assert norms(model) == 4
    torch.testing.assert_close(model(network.random_images()), before)


def test_all_is_put_back_where_something_else_takes_a_convolutions_output() -> None:
    torch.manual_seed(0)
    model = Blocks(forked=True).eval().requires_grad_(False)
    give_statistics(model)
    network = wrapped(model)
    before = model(network.random_images())
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    assert fuse_batch_norms(network) == 0
    assert torch.equal(model(network.random_images()), before)
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


def test_norms_by_a_batchs_own_statistics_stay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.AdaptiveAvgPool2d(1))
    assert fuse_batch_norms(wrapped(model.eval().requires_grad_(False))) == 0
