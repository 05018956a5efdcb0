"""Networks of torchvision, transformers and open_clip: split as timm's are, with the preprocessing of their libraries.

All weights are random, since no hub can be reached.
"""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models

from lib.errors import NetworkError
from lib.experiment.network_settings import NetworkSettings
from lib.images.pixels import decode_for
from lib.networks.classifiers import Classifier
from lib.networks.network import Network
from lib.networks.zero_shot import zero_shot_head

PICTURE = (
    np.random.default_rng(0).integers(0, 256, (45, 63, 3), np.uint8).repeat(7, 0).repeat(7, 1)
)  # margins of crops are even


def loaded(model: str, weights: str = "random", **more: object) -> Network:
    network = Network("a", NetworkSettings.model_validate({"model": model, "weights": weights, **more}))
    network.check_split()
    return network


def prepared(network: Network) -> torch.Tensor:
    """The picture as the network gets it here, (1, 3, h, w)."""
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "PNG")
    (pixels,) = decode_for(file.getvalue(), [network.geometry], 10**8)
    return network.normalise(pixels[None].copy())


@torch.inference_mode()
@pytest.mark.filterwarnings("default:The default weight initialization")  # of Inception
@pytest.mark.parametrize("model", ["resnet18", "mobilenet_v3_small", "inception_v3", "shufflenet_v2_x0_5"])
def test_torchvisions_networks_are_split_before_their_last_layer(model: str) -> None:
    network = loaded(f"torchvision:{model}")
    torch.manual_seed(0)
    whole = models.get_model(model, weights=None).eval()
    x = torch.randn(2, *network.geometry.input_size)
    assert network.classifier is not None
    assert network.classifier.classes == 1000
    torch.testing.assert_close(network.classifier(network.features(x)), whole(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weights", ["IMAGENET1K_V1", "IMAGENET1K_V2"])
def test_torchvisions_preprocessing_is_that_of_the_weights(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make = models.get_model
    monkeypatch.setattr(models, "get_model", lambda name, weights, **options: make(name, weights=None, **options))
    network = loaded("torchvision:mobilenet_v3_large", weights)
    theirs = models.get_model_weights("mobilenet_v3_large")[weights].transforms()
    torch.testing.assert_close(prepared(network)[0], theirs(Image.fromarray(PICTURE)), rtol=0, atol=0.02)


def test_torchvisions_weights_come_from_a_file_too_and_wrong_names_are_said(tmp_path: Path) -> None:
    whole = models.resnet18(weights=None)
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    network = loaded("torchvision:resnet18", str(tmp_path / "w.pth"))
    assert network.classifier is not None
    assert torch.equal(network.classifier.weight, whole.fc.weight.detach())
    for model, weights, said in (
        ("resnet19", "random", "torchvision has no model 'resnet19'; near it: .*resnet18"),
        ("resnet18", "IMAGENET1K_V9", "no weights 'IMAGENET1K_V9' of resnet18; it has IMAGENET1K_V1"),
    ):
        with pytest.raises(NetworkError, match=said):
            loaded(f"torchvision:{model}", weights)
    with pytest.raises(NetworkError, match="pool and layer are chosen of timm's"):
        loaded("torchvision:resnet18", pool="avg")


def test_a_torchvision_network_whose_last_layer_is_no_linear_one_is_refused_in_words() -> None:
    with pytest.raises(NetworkError, match="SqueezeNet has no Linear layer that could be its classifier"):
        loaded("torchvision:squeezenet1_1")


@pytest.mark.slow
def test_every_classification_network_of_torchvision_is_split_or_refused_in_words() -> None:
    refused = set()
    large = {"regnet_y_128gf", "regnet_y_32gf", "regnet_x_32gf", "regnet_y_16gf", "regnet_x_16gf"}
    for model in sorted(set(models.list_models(module=models)) - large):
        device = "cpu" if model.startswith("regnet") else "meta"  # RegNets read numbers as they are made
        try:
            with torch.device(device):
                network = _meta(model)
        except NetworkError:
            refused.add(model)
            continue
        head: Any = network.head
        size = 299 if model == "inception_v3" else network.config["input_size"][1]
        with torch.inference_mode():
            F = network.features(torch.empty(2, 3, size, size, device=device))
        assert tuple(F.shape) == (2, head.in_features), model
    assert refused == {"squeezenet1_0", "squeezenet1_1"}


def _meta(model: str) -> Any:
    from lib.networks.torchvision_networks import torchvision_backbone

    found = torchvision_backbone("a", NetworkSettings(model=f"torchvision:{model}", weights="random"))
    found.model.eval()
    return found


TINY = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}


def saved(folder: Path, kind: str) -> Any:
    """Save a small network of transformers with random weights and its image processor, and return the network."""
    transformers = pytest.importorskip("transformers", reason="the `transformers` extra isn't installed")
    torch.manual_seed(0)
    size = {"image_size": 32, "patch_size": 8}
    if kind == "vit":
        made = transformers.ViTForImageClassification(transformers.ViTConfig(**TINY, **size, num_labels=5))
        processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    elif kind == "resnet":
        config = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5
        )
        made = transformers.ResNetForImageClassification(config)
        processor = transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875)
    elif kind == "dinov2":
        made = transformers.Dinov2Model(transformers.Dinov2Config(**TINY, **size))
        processor = transformers.BitImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    else:
        vision = {**TINY, **size}
        text = {**TINY, "vocab_size": 50, "max_position_embeddings": 16}
        if kind == "clip":
            config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
            made = transformers.CLIPModel(config)
            processor = transformers.CLIPImageProcessor(
                size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
            )
        else:
            made = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))
            processor = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    made.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return made


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_transformers_classifiers_are_split_before_their_last_layer(tmp_path: Path, kind: str) -> None:
    whole = saved(tmp_path, kind)
    network = loaded(f"transformers:{tmp_path}", "pretrained")
    x = torch.randn(2, 3, 32, 32)
    assert network.classifier is not None
    assert network.classifier.classes == 5
    torch.testing.assert_close(network.classifier(network.features(x)), whole(pixel_values=x).logits)


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["dinov2", "clip", "siglip"])
def test_other_networks_of_transformers_are_sources(tmp_path: Path, kind: str) -> None:
    whole = saved(tmp_path, kind)
    with pytest.raises(NetworkError, match=r'it is not one for image classification\. Set classifier = "none"'):
        loaded(f"transformers:{tmp_path}", "pretrained")
    network = loaded(f"transformers:{tmp_path}", "pretrained", classifier="none")
    x = torch.randn(2, 3, 32, 32)
    if kind == "dinov2":
        expected = whole(pixel_values=x).pooler_output
    else:
        expected = whole.get_image_features(pixel_values=x)
        expected = expected if isinstance(expected, torch.Tensor) else expected.pooler_output
    torch.testing.assert_close(network.features(x), expected)
    assert network.feature_size == expected.shape[1]


@pytest.mark.parametrize("kind", ["vit", "resnet", "dinov2", "clip", "siglip"])
def test_transformers_preprocessing_is_that_of_the_networks_processor(tmp_path: Path, kind: str) -> None:
    transformers = pytest.importorskip("transformers", reason="the `transformers` extra isn't installed")
    saved(tmp_path, kind)
    network = loaded(f"transformers:{tmp_path}", "pretrained", classifier="none")
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    theirs = processor(images=Image.fromarray(PICTURE), return_tensors="pt")["pixel_values"]
    assert (prepared(network) - theirs).abs().mean() < 0.01, "up to rounding and how edges are resized"


def test_what_transformers_cannot_load_is_said(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the `transformers` extra isn't installed")
    with pytest.raises(NetworkError, match="transformers can't load"):
        loaded(f"transformers:{tmp_path}", "pretrained")


@pytest.fixture
def tiny_clip(tmp_path: Path) -> str:
    """A small network that open_clip knows by its name."""
    open_clip = pytest.importorskip("open_clip", reason="the `open_clip` extra isn't installed")
    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 60, "width": 32, "heads": 2, "layers": 1}
    (tmp_path / "tiny-clip.json").write_text(json.dumps({"embed_dim": 12, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(tmp_path)
    return "tiny-clip"


@torch.inference_mode()
def test_open_clips_image_tower_is_a_source_with_a_zero_shot_head(tiny_clip: str, tmp_path: Path) -> None:
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    torch.manual_seed(0)
    whole = open_clip.create_model(tiny_clip, pretrained=None).eval()
    with pytest.raises(NetworkError, match="images and texts share"):
        loaded(f"open_clip:{tiny_clip}")
    texts = torch.randn(7, 12)
    head = zero_shot_head(texts, None)
    (tmp_path / "head.safetensors").write_bytes(Classifier(head.weight, head.bias).to_bytes())
    network = loaded(f"open_clip:{tiny_clip}", classifier=str(tmp_path / "head.safetensors"))
    x = torch.randn(5, 3, 32, 32)
    torch.testing.assert_close(network.features(x), whole.encode_image(x))
    assert network.classifier is not None
    cosines = whole.encode_image(x, normalize=True) @ nn.functional.normalize(texts, dim=1).T
    assert torch.equal(network.classifier(network.features(x)).argmax(1), cosines.argmax(1))
    theirs = image_transform_v2(PreprocessCfg(**whole.visual.preprocess_cfg), is_train=False)
    torch.testing.assert_close(prepared(network)[0], theirs(Image.fromarray(PICTURE)), rtol=0, atol=0.02)


def test_open_clips_weights_are_named_or_come_from_a_file(tiny_clip: str, tmp_path: Path) -> None:
    import open_clip

    whole = open_clip.create_model(tiny_clip, pretrained=None)
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    network = loaded(f"open_clip:{tiny_clip}", str(tmp_path / "w.pth"), classifier="none")
    assert torch.equal(network.model.proj, whole.visual.proj.detach())
    with pytest.raises(NetworkError, match=r"open_clip has no default weights, name one of .*openai"):
        loaded("open_clip:ViT-B-32", "pretrained", classifier="none")
    with pytest.raises(NetworkError, match=r"open_clip has no model 'ViT-B-33'; near it: .*ViT-B-32"):
        loaded("open_clip:ViT-B-33", classifier="none")


@pytest.mark.parametrize(("prefix", "module"), [("transformers", "transformers"), ("open_clip", "open_clip")])
def test_a_library_that_is_not_installed_is_named(prefix: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(NetworkError, match=rf"pip install -e '\.\[{prefix}\]'"):
        loaded(f"{prefix}:anything")
