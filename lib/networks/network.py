"""A pretrained network A, split into its features F_A and its classifier C_A."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import timm.data
import torch
from torch import nn

from lib.errors import NetworkError
from lib.experiment.network_settings import NetworkSettings
from lib.images.decoding import fast_decoder
from lib.images.geometry import Geometry
from lib.networks.classifiers import Classifier
from lib.networks.weights import load_model


class Network:
    """A loaded network with its preprocessing: `features` is F, `classifier` is C.

    Raises NetworkError if the model is unknown, its weights do not fit, or its classifier is not one layer.
    """

    def __init__(self, name: str, settings: NetworkSettings, device: str = "cpu") -> None:
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
        """Return pixels (n, h, w, 3) as normalised images (n, 3, h, w) on the device, float32.

        The result equals that of timm's ToTensor and Normalize. uint8 pixels are 0..255. float32 pixels, of transforms
        that do not round, are 0..1 already.
        """
        images = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)
        images = images.float().div_(255) if images.dtype == torch.uint8 else images.clone()
        return images.sub_(self._mean).div_(self._std)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return F: feature vectors (n, d), the last layer's input, for normalised images (n, 3, h, w)."""
        return pooled_features(self.model, images)

    @torch.inference_mode()
    def check_split(self) -> None:
        """Raise NetworkError unless C(F(x)) is the network's own output, up to rounding, for random x."""
        draw = torch.Generator().manual_seed(0)
        x = torch.randn(2, *self.geometry.input_size, generator=draw).to(self.device)
        try:
            output, split = self.model(x).cpu(), self.classifier(self.features(x).cpu())
        except Exception as error:
            raise NetworkError(f"network {self.name!r} can't be split into features and classifier: {error}") from error
        if not output.isfinite().all():
            raise NetworkError(
                f"network {self.name!r}: its output is NaN or infinite for random pixels: check its weights"
            )
        if output.shape != split.shape or not torch.allclose(
            output, split, rtol=1e-4, atol=1e-4 * float(output.abs().max())
        ):
            raise NetworkError(f"network {self.name!r} can't be split: C(F(x)) isn't the network's own output")

    def fingerprint(self) -> str:
        """Return a sha256 over names, shapes and bytes of all weights. It is equal exactly if the weights are."""
        total = hashlib.sha256()
        for key, tensor in sorted(self.model.state_dict().items()):
            value = tensor.detach().cpu().contiguous()
            total.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
        return total.hexdigest()[:32]


def pooled_features(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return F of timm's model: everything up to and including the global pool, (n, d) for images (n, 3, h, w)."""
    timms: Any = model
    pooled: torch.Tensor = timms.forward_head(timms.forward_features(images), pre_logits=True)
    return pooled.flatten(1)


def split_classifier(name: str, model: nn.Module, offset: int) -> Classifier:
    """Return C of timm's model, which is a Linear layer or a 1x1 convolution after the pool. Raises NetworkError
    otherwise.
    """
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
