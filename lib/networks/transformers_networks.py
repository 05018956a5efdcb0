"""Image models of Hugging Face's transformers as backbones."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import nn

from lib.errors import NetworkError
from lib.experiment.network_settings import NetworkSettings
from lib.networks.backbones import Backbone, shorter_side
from lib.networks.heads import last_linear, take_off
from lib.networks.weights import load_weights

PREFIX = "transformers:"
WITHOUT_CROP = 384  # from which size on ConvNeXT's preprocessing crops nothing


def transformers_backbone(name: str, settings: NetworkSettings) -> Backbone:
    """Return the hub's network, or that of a folder, behind "transformers:". Raises NetworkError.

    A network for image classification is split before its last Linear layer. Of others F is the pooled output, or the
    class token where there is none, or, of networks of images and texts, the image's vector in the space of both.
    """
    source = settings.model.removeprefix(PREFIX)
    try:
        from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification
    except ImportError as error:
        raise NetworkError(f"network {name!r}: {error}. pip install -e '.[transformers]'") from error
    if settings.options:
        raise NetworkError(f"network {name!r}: options are timm's and torchvision's, leave them out")
    try:
        config = AutoConfig.from_pretrained(source)
        classifies = any("ForImageClassification" in kind for kind in config.architectures or [])
        kind: Any = AutoModelForImageClassification if classifies else AutoModel
        if settings.weights == "pretrained":
            model: nn.Module = kind.from_pretrained(source, use_safetensors=True)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(0)
                model = kind.from_config(config)
        processor = AutoImageProcessor.from_pretrained(source)
    except Exception as error:
        raise NetworkError(f"network {name!r}: transformers can't load {source!r}: {error}") from error
    if settings.weights not in ("pretrained", "random"):
        load_weights(name, model, settings.weights)
    model.float()
    hub: Any = model
    path = last_linear(model) if classifies else None

    def logits(images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = hub(pixel_values=images).logits
        return found

    def pooled(images: torch.Tensor) -> torch.Tensor:
        if hasattr(hub, "get_image_features"):
            found = hub.get_image_features(pixel_values=images)
            return found if isinstance(found, torch.Tensor) else found.pooler_output
        output = hub(pixel_values=images)
        vectors: torch.Tensor | None = getattr(output, "pooler_output", None)
        return output.last_hidden_state[:, 0] if vectors is None else vectors.flatten(1)

    data = _config(name, processor)
    if path is None:
        return Backbone(model, pooled, None, "it is not one for image classification", pooled, data)
    head, whole = take_off(model, path, logits)
    return Backbone(model, lambda images: logits(images).flatten(1), head, "", whole, data)


def _config(name: str, processor: Any) -> dict[str, Any]:
    """Return an image processor's settings as timm's data config. Raises NetworkError if its sizes are others.

    Where an odd number of pixels is cut off, timm's crop lies one pixel beside that of transformers.
    """
    size = dict(getattr(processor, "size", None) or {})
    crop = dict(getattr(processor, "crop_size", None) or {}) if getattr(processor, "do_center_crop", False) else {}
    resized, mode, share = size.get("shortest_edge"), "center", 1.0
    if resized is not None and crop:
        share, height, width = shorter_side(crop["height"], resized), crop["height"], crop["width"]
    elif resized is not None:
        height = width = resized
        share = getattr(processor, "crop_pct", None) or 1.0
        mode = "squash" if resized >= WITHOUT_CROP else "center"
    elif "height" in size:
        height, width, mode = size["height"], size["width"], "squash"
        if crop and crop["height"] != height:
            raise NetworkError(f"network {name!r}: its preprocessing squashes and then crops, which is not known here")
    else:
        raise NetworkError(f"network {name!r}: its preprocessing resizes to {size}, which is not known here")
    normalises = getattr(processor, "do_normalize", True)
    return {
        "input_size": (3, height, width),
        "crop_pct": share if mode == "center" else 1.0,
        "crop_mode": mode,
        "interpolation": Image.Resampling(processor.resample).name.lower(),
        "mean": tuple(processor.image_mean) if normalises else (0.0, 0.0, 0.0),
        "std": tuple(processor.image_std) if normalises else (1.0, 1.0, 1.0),
    }
