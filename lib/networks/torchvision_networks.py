"""torchvision's classification networks as backbones."""

from __future__ import annotations

import difflib
import warnings
from typing import Any

import torch
from torchvision import models

from lib.errors import NetworkError
from lib.experiment.network_settings import NetworkSettings
from lib.networks.backbones import Backbone, shorter_side
from lib.networks.heads import last_linear, take_off
from lib.networks.weights import load_weights

PREFIX = "torchvision:"


def torchvision_backbone(name: str, settings: NetworkSettings) -> Backbone:
    """Return torchvision's network with the preprocessing of its weights. Raises NetworkError.

    `weights` is "pretrained" (torchvision's default), the name of other weights, such as IMAGENET1K_V1, "random", or a
    file.
    """
    model_name, weights = settings.model.removeprefix(PREFIX), settings.weights
    known = models.list_models(module=models)
    if model_name not in known:
        near = ", ".join(difflib.get_close_matches(model_name, known, 5)) or "see torchvision.models.list_models()"
        raise NetworkError(f"network {name!r}: torchvision has no model {model_name!r}; near it: {near}")
    kinds: Any = models.get_model_weights(model_name)
    chosen = kinds.DEFAULT if weights == "pretrained" else kinds.__members__.get(weights)
    if chosen is None and weights.isidentifier() and weights != "random":
        raise NetworkError(
            f"network {name!r}: torchvision has no weights {weights!r} of {model_name}; it has "
            f"{', '.join(kinds.__members__)}"
        )
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # Inception's and GoogLeNet's, about how they are drawn
            torch.default_generator.manual_seed(0)
            model = models.get_model(model_name, weights=chosen, **settings.options)
    except Exception as error:
        hint = "; give weights = a file or random where its weights cannot be downloaded" if chosen is not None else ""
        raise NetworkError(f"network {name!r}: torchvision can't create {model_name!r}: {error}{hint}") from error
    if chosen is None and weights != "random":
        load_weights(name, model, weights)
    path = last_linear(model)
    if path is None:
        raise NetworkError(f"network {name!r}: {type(model).__name__} has no Linear layer that could be its classifier")
    model.eval()  # before its function is wrapped: Inception gives other outputs in training
    head, whole = take_off(model, path, model.__call__)
    return Backbone(model, model.__call__, head, "", whole, _config((chosen or fitting(kinds, model)).transforms()))


def fitting(kinds: Any, model: torch.nn.Module) -> Any:
    """Return the weights whose preprocessing a network without named weights gets: the default, if its size fits.

    A transformer takes images of one size; some of torchvision's weights were trained on others than the network's own.
    """
    size = getattr(model, "image_size", None)
    fits = [kind for kind in (kinds.DEFAULT, *kinds) if size is None or kind.transforms().crop_size == [size]]
    return (fits or [kinds.DEFAULT])[0]


def _config(transforms: Any) -> dict[str, Any]:
    """Return torchvision's evaluation preset as timm's data config: the shorter side resized, then a central crop."""
    (crop,), (resize,) = transforms.crop_size, transforms.resize_size
    return {
        "input_size": (3, crop, crop),
        "crop_pct": shorter_side(crop, resize),
        "crop_mode": "center",
        "interpolation": transforms.interpolation.value,
        "mean": tuple(transforms.mean),
        "std": tuple(transforms.std),
    }
