"""Where a classifier comes from: the network's own layer, nowhere, a file, a zero-shot head; and which features."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import timm
import torch
from pydantic import ValidationError
from torch import nn

from jobs.import_head import main as import_head
from lib.errors import DamagedFile, NetworkError
from lib.experiment.layout import Layout
from lib.experiment.network_settings import NetworkSettings
from lib.networks.classifier_records import count_classes
from lib.networks.classifiers import Classifier
from lib.networks.network import Network
from lib.networks.pooling import pooled_features
from lib.networks.timm_networks import is_projection, own_head
from lib.networks.zero_shot import read_embeddings, zero_shot_head
from lib.storage.files import write_bytes

CLIP = "vit_xsmall_patch16_clip_224.tinyclip_yfcc15m"  # the smallest of timm's: 256 features, 512 shared numbers


def random(model: str = "test_vit", **more: object) -> NetworkSettings:
    return NetworkSettings.model_validate({"model": model, "weights": "random", **more})


@pytest.mark.parametrize("offset", [0, 1])
def test_classes_are_counted_without_torch_and_without_the_background(tmp_path: Path, offset: int) -> None:
    files, classifier = Layout(str(tmp_path)), Classifier(torch.zeros(5, 3), torch.zeros(5), offset)
    uri = files.classifier("a")
    write_bytes(uri, classifier.to_bytes())
    assert count_classes(files, "a") == classifier.classes == 5 - offset
    write_bytes(uri, classifier.to_bytes()[:40])
    with pytest.raises(DamagedFile, match="cannot be parsed"):
        count_classes(files, "a")


def test_without_a_classifier_a_network_gives_the_same_features() -> None:
    own, bare = Network("a", random()), Network("b", random(classifier="none"))
    bare.check_split()
    x = torch.randn(2, *own.geometry.input_size)
    assert bare.classifier is None
    assert bare.feature_size == own.feature_size
    assert torch.equal(bare.features(x), own.features(x))
    assert bare.fingerprint() == own.fingerprint()


def test_a_network_of_timms_without_classifier_is_a_source() -> None:
    with pytest.raises(NetworkError, match=r'\(num_classes = 0\)\. Set classifier = "none"'):
        Network("a", random(options={"num_classes": 0}))
    network = Network("a", random(options={"num_classes": 0}, classifier="none"))
    network.check_split()
    assert network.feature_size == 64


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("names", ["", "fc.", "head.linear."])
def test_a_head_from_a_file_is_the_heads_own(tmp_path: Path, suffix: str, names: str) -> None:
    own = Network("a", random()).classifier
    assert own is not None
    tensors = {f"{names}weight": own.weight, f"{names}bias": own.bias}
    path = tmp_path / f"head.{suffix}"
    if suffix == "pth":
        torch.save(tensors, path)
    else:
        safetensors.torch.save_file(tensors, path)
    found = Network("b", random(classifier=str(path))).classifier
    assert found is not None
    assert torch.equal(found.weight, own.weight)
    assert torch.equal(found.bias, own.bias)


def test_a_written_classifier_keeps_its_background_class(tmp_path: Path) -> None:
    (tmp_path / "c.safetensors").write_bytes(Classifier(torch.randn(11, 64), torch.randn(11), 1).to_bytes())
    found = Network("a", random(classifier=str(tmp_path / "c.safetensors"))).classifier
    assert found is not None
    assert (found.offset, found.classes) == (1, 10)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"weight": torch.ones(3, 65)}, "takes 65 features, but the network gives 64"),
        ({"weight": torch.ones(3, 64), "bias": torch.ones(4)}, r"\(3, 64\) weights, but \(4,\) biases"),
        ({"a.weight": torch.ones(3, 64), "b.weight": torch.ones(3, 64)}, "must hold one matrix called weight"),
        ({"weight": torch.full((3, 64), torch.nan)}, "NaN or infinity"),
    ],
)
def test_a_file_of_anything_else_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor], said: str) -> None:
    safetensors.torch.save_file(tensors, tmp_path / "h.safetensors")
    with pytest.raises(NetworkError, match=said):
        Network("a", random(classifier=str(tmp_path / "h.safetensors")))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"classifier": "probes"}, '"own", "none", "probe", or a file'),
        ({"classifier": "none", "class_offset": 1}, "has no background class"),
        ({"layer": 1, "classifier": "own"}, "an earlier block goes into no classifier"),
    ],
)
def test_impossible_choices_are_refused_before_anything_is_loaded(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        random(**fields)


def test_the_projection_of_each_image_and_text_tag_is_recognised_and_nothing_else() -> None:
    """By timm's own configs: sizes of shared spaces are no label set of any other tag."""
    shared = {384, 512, 640, 768, 1024, 1152, 1280}
    tags = timm.list_models(pretrained=True)
    for tag in tags:
        model, config = nn.Module(), timm.models.get_pretrained_cfg(tag)
        model.pretrained_cfg, model.num_classes = config.to_dict(), config.num_classes  # type: ignore[assignment]
        assert is_projection(model) == (config.num_classes in shared), tag


def test_a_clip_tag_is_refused_with_what_to_do_and_serves_as_a_source() -> None:
    with pytest.raises(NetworkError, match=r"projection into the 512 numbers.*\"none\".*import_head"):
        Network("clip", random(CLIP))
    network = Network("clip", random(CLIP, classifier="none"))
    assert network.feature_size == 256
    kept = Network("classes", random(CLIP, options={"num_classes": 10})).classifier
    assert kept is not None, "a head of another size is one's own"
    assert kept.classes == 10


@pytest.mark.parametrize("kind", ["npy", "parquet", "safetensors", "turned", "prompts"])
def test_a_zero_shot_head_answers_as_cosines_do(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """From the command line: argmax of the head = argmax of cosine of the projected image with each class's text."""
    T = np.random.default_rng(0).normal(size=(10, 512)).astype(np.float32)
    path = tmp_path / f"t.{kind if kind in ('parquet', 'safetensors') else 'npy'}"
    if kind == "parquet":
        pq.write_table(pa.table({"class": list(map(str, range(10))), "text": list(T)}), path)
    elif kind == "safetensors":
        safetensors.torch.save_file({"text": torch.from_numpy(T)}, path)
    else:
        prompts = np.stack([T, T * 3], 1)  # one direction, other lengths
        np.save(path, {"npy": T, "turned": T.T, "prompts": prompts}[kind])
    out = str(tmp_path / "head.safetensors")
    assert import_head([str(path), "--network", CLIP, "--set", "weights=random", "--out", out]) == 0
    assert f'classifier = "{out}"' in capsys.readouterr().out
    network = Network("clip", random(CLIP, classifier=out))
    network.check_split()
    x = torch.randn(8, *network.geometry.input_size)
    with torch.inference_mode():
        v = network.model(x)
        cosines = nn.functional.normalize(v, dim=1) @ nn.functional.normalize(torch.from_numpy(T), dim=1).T
        assert network.classifier is not None
        scores = network.classifier(network.features(x))
    torch.testing.assert_close(scores, cosines * v.norm(dim=1, keepdim=True), rtol=1e-3, atol=1e-3)
    assert torch.equal(scores.argmax(1), cosines.argmax(1))


@pytest.mark.parametrize(
    ("name", "turned"), [("visual_projection.weight", False), ("model.visual.proj", True), ("head.weight", False)]
)
def test_projections_are_found_by_the_names_of_clips_implementations(tmp_path: Path, name: str, turned: bool) -> None:
    P, T = torch.randn(6, 4), torch.randn(3, 6)
    safetensors.torch.save_file({name: (P.T if turned else P).contiguous()}, tmp_path / "w.safetensors")
    np.save(tmp_path / "t.npy", T.numpy())
    out = tmp_path / "head.safetensors"
    done = import_head([str(tmp_path / "t.npy"), "--projection", str(tmp_path / "w.safetensors"), "--out", str(out)])
    assert done == 0
    expected = nn.functional.normalize(T, dim=1) @ P
    torch.testing.assert_close(Classifier.load(str(out)).weight, expected)


def test_embeddings_that_fit_no_projection_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "t.npy", np.ones((3, 7), np.float32))
    given = [str(tmp_path / "t.npy"), "--out", str(tmp_path / "h.safetensors")]
    assert import_head([*given, "--network", CLIP, "--set", "weights=random"]) == 1
    assert "do not fit a projection into 512 numbers" in capsys.readouterr().err
    assert import_head([*given, "--no-projection"]) == 0
    np.save(tmp_path / "z.npy", np.zeros((3, 7), np.float32))
    with pytest.raises(NetworkError, match="a row is zero"):
        zero_shot_head(read_embeddings(str(tmp_path / "z.npy")), None)


@torch.inference_mode()
def test_pools_are_those_of_the_tokens() -> None:
    x = torch.randn(2, 3, 160, 160)
    model = timm.create_model("test_vit").eval()
    own = Network("own", random())
    own.model.load_state_dict(model.state_dict())
    tokens = model.forward_features(x)
    expected = {
        "token": tokens[:, 0],
        "avg": tokens[:, 1:].mean(1),
        "max": tokens[:, 1:].amax(1),
        "token+avg": torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1),
    }
    for pool, F in expected.items():
        network = Network("a", random(pool=pool, classifier="none"))
        network.model.load_state_dict(model.state_dict())
        torch.testing.assert_close(network.features(x), F)
        assert network.feature_size == F.shape[1]
    with pytest.raises(NetworkError, match="no pool 'median'; allowed are token, avg, max, avgmax, token"):
        Network("a", random(pool="median"))


@torch.inference_mode()
@pytest.mark.parametrize("model", ["test_resnet", "test_efficientnet", "test_convnext"])
def test_pools_are_those_of_the_places(model: str) -> None:
    mean, most = Network("a", random(model)), Network("b", random(model, pool="max"))
    most.check_split()  # its own classifier takes them
    x = torch.randn(2, *mean.geometry.input_size)
    planes = mean.model.forward_features(x)
    before = Network("c", random(model, pool="avg"))
    torch.testing.assert_close(before.features(x), mean.features(x))
    assert not torch.allclose(most.features(x), mean.features(x))
    if model != "test_convnext":  # whose head has a norm behind its pool
        torch.testing.assert_close(most.features(x), planes.amax((2, 3)))
        both = Network("d", random(model, pool="catavgmax", classifier="none"))
        assert both.feature_size == 2 * mean.feature_size


@torch.inference_mode()
@pytest.mark.parametrize(("model", "layers"), [("test_vit", 6), ("test_resnet", 5), ("test_efficientnet", 5)])
def test_a_layer_is_the_pooled_output_of_that_block(model: str, layers: int) -> None:
    own = Network("own", random(model))
    x = torch.randn(2, *own.geometry.input_size)
    planes = own.model.forward_intermediates(x, intermediates_only=True)
    assert len(planes) == layers
    for layer in (0, layers - 1):
        network = Network("a", random(model, layer=layer))
        network.check_split()
        assert network.classifier is None
        torch.testing.assert_close(network.features(x), planes[layer].mean((2, 3)))
        assert network.feature_size == planes[layer].shape[1]
    with pytest.raises(NetworkError, match=f"index {layers} is out of range"):
        Network("a", random(model, layer=layers))


def test_the_layer_that_is_c_is_found_inside_timms_heads() -> None:
    model = timm.create_model("test_convnext")
    head, why = own_head(model)
    assert not why
    assert head is model.head.fc
    assert pooled_features(model.eval(), torch.zeros(1, 3, 160, 160)).shape == (1, model.num_features)
