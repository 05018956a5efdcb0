"""A pretrained network A, split into its features F_A and its classifier C_A."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch

from lib.errors import NetworkError
from lib.experiment.network_settings import NetworkSettings, feature_fingerprint
from lib.images.decoding import fast_decoder
from lib.images.geometry import Geometry
from lib.networks.backbones import Backbone
from lib.networks.classifier_files import read_classifier
from lib.networks.classifiers import Classifier
from lib.networks.libraries import load_backbone

CHOICES = (
    'Set classifier = "none", with which it gives features only; "probe", which is fitted to the training images\' '
    "labels; or a file of weight and bias, such as a zero-shot head that `python -m jobs.import_head` makes"
)


class Network:
    """A loaded network with its preprocessing: `features` is F, `classifier` is C.

    Raises NetworkError if the model is unknown, its weights do not fit, or its classifier is not one layer.
    """

    def __init__(self, name: str, settings: NetworkSettings, device: str = "cpu") -> None:
        self.name = name
        self.chosen_features = settings.chosen_features
        self.device = device
        if settings.preprocessing.jpeg == "fastdct":
            try:
                fast_decoder()
            except ModuleNotFoundError as error:
                raise NetworkError(f"network {name!r}: {error}") from error
        self.backbone = load_backbone(name, settings)
        self.model = self.backbone.model.eval().requires_grad_(False)
        config = dict(self.backbone.config)
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
        head: Any = self.backbone.head
        self.feature_size: int = self._count_features() if head is None else head.weight.shape[1]
        self.classifier = choose_classifier(name, settings, self.backbone, self.feature_size)
        self.owns_classifier = settings.classifier == "own"
        self.model.to(device)
        self._mean = torch.tensor(self.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(self.std, device=device).view(1, 3, 1, 1)

    def normalise(self, pixels: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Return pixels (n, h, w, 3) as normalised images (n, 3, h, w) on the device, float32.

        The result equals that of timm's ToTensor and Normalize. uint8 pixels are 0..255. float32 pixels, of transforms
        that do not round, are 0..1 already. From pinned memory they are copied to a GPU while it computes.
        """
        images = torch.as_tensor(pixels).to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        images = images.float().div_(255) if images.dtype == torch.uint8 else images.clone()
        return images.sub_(self._mean).div_(self._std)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return F: feature vectors (n, d), the last layer's input, for normalised images (n, 3, h, w)."""
        return self.backbone.features(images)

    @torch.inference_mode()
    def _count_features(self) -> int:
        """Return d. Raises NetworkError unless F gives one vector of finite numbers for each image."""
        x = self.random_images()
        try:
            found = self.features(x)
        except Exception as error:
            raise NetworkError(f"network {self.name!r} gives no features: {error}") from error
        if found.ndim != 2 or len(found) != len(x):
            raise NetworkError(f"network {self.name!r}: expected features (n, d), got {tuple(found.shape)} of {len(x)}")
        return found.shape[1]

    def random_images(self) -> torch.Tensor:
        """Return two images (2, 3, h, w) of normally distributed numbers on the device, always the same."""
        draw = torch.Generator().manual_seed(0)
        return torch.randn(2, *self.geometry.input_size, generator=draw).to(self.device)

    @torch.inference_mode()
    def check_split(self) -> None:
        """Raise NetworkError unless F is finite, and C(F(x)) is the network's own output, up to rounding, for random x.

        A classifier that is not the network's own has nothing to be compared with.
        """
        x = self.random_images()
        can_not = f"network {self.name!r} can't be split into features and classifier"
        try:
            F = self.features(x).cpu()
        except Exception as error:
            raise NetworkError(f"{can_not}: {error}") from error
        wrong = f"network {self.name!r}: its output is NaN or infinite for random pixels: check its weights"
        if not F.isfinite().all():
            raise NetworkError(wrong)
        if self.classifier is None or not self.owns_classifier:
            return
        try:
            output, split = self.backbone.output(x).cpu(), self.classifier(F)
        except Exception as error:
            raise NetworkError(f"{can_not}: {error}") from error
        if not output.isfinite().all():
            raise NetworkError(wrong)
        if output.shape != split.shape or not torch.allclose(
            output, split, rtol=1e-4, atol=1e-4 * float(output.abs().max())
        ):
            raise NetworkError(f"network {self.name!r} can't be split: C(F(x)) isn't the network's own output")

    def feature_fingerprint(self) -> str:
        """Return what tells these features from others: the weights, and pool and layer where they are chosen."""
        return feature_fingerprint(self.fingerprint(), self.chosen_features)

    def fingerprint(self) -> str:
        """Return a sha256 over names, shapes and bytes of all weights. It is equal exactly if the weights are."""
        total = hashlib.sha256()
        for key, tensor in sorted(self.model.state_dict().items()):
            value = tensor.detach().cpu().contiguous()
            total.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
        return total.hexdigest()[:32]


def choose_classifier(name: str, settings: NetworkSettings, backbone: Backbone, feature_size: int) -> Classifier | None:
    """Return C as the experiment says, None if the network has none, or none yet, as before its probe is fitted.

    Raises NetworkError if its own is asked for and it has none.
    """
    if settings.classifier in ("none", "probe"):
        return None
    if settings.classifier_file is not None:
        return read_classifier(name, settings.classifier_file, settings.class_offset, feature_size)
    if backbone.head is None:
        raise NetworkError(
            f"network {name!r} can't be split into features and classifier: {backbone.headless}. {CHOICES}"
        )
    layer: Any = backbone.head
    weight = layer.weight.detach().flatten(1).float().clone().contiguous()
    bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach().float().clone()
    return Classifier(weight, bias, settings.class_offset)
