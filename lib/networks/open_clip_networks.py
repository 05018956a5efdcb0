"""Image towers of open_clip's networks as backbones."""

from __future__ import annotations

import difflib
from typing import Any

import torch

from lib.errors import NetworkError
from lib.experiment.network_settings import NetworkSettings
from lib.networks.backbones import Backbone
from lib.networks.weights import load_weights

PREFIX = "open_clip:"
MODES = {"shortest": "center", "longest": "border", "squash": "squash"}  # open_clip's words for timm's


def open_clip_backbone(name: str, settings: NetworkSettings) -> Backbone:
    """Return the image tower of the network behind "open_clip:". Raises NetworkError.

    `weights` is one of open_clip's tags, "random", or a file of the whole network. F is the image's vector in the space
    of images and texts, not brought to unit length, so that a zero-shot head needs no projection.
    """
    model_name, weights = settings.model.removeprefix(PREFIX), settings.weights
    try:
        import open_clip
    except ImportError as error:
        raise NetworkError(f"network {name!r}: {error}. pip install -e '.[open_clip]'") from error
    known = open_clip.list_models()
    if model_name not in known:
        near = ", ".join(difflib.get_close_matches(model_name, known, 5)) or "see open_clip.list_models()"
        raise NetworkError(f"network {name!r}: open_clip has no model {model_name!r}; near it: {near}")
    tags = open_clip.list_pretrained_tags_by_model(model_name)
    if weights == "pretrained":
        raise NetworkError(
            f"network {name!r}: open_clip has no default weights, name one of {', '.join(tags) or 'no tag'}"
        )
    tag = weights if weights in tags else None
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            whole: Any = open_clip.create_model(model_name, pretrained=tag, **settings.options)
    except Exception as error:
        raise NetworkError(
            f"network {name!r}: open_clip can't create {model_name!r} with {weights!r}: {error}"
        ) from error
    if tag is None and weights != "random":
        load_weights(name, whole, weights)
    tower = whole.visual.float()
    size = tower.image_size
    size = (size, size) if isinstance(size, int) else tuple(size)
    given = open_clip.get_model_preprocess_cfg(whole)
    config = {
        "input_size": (3, *size),
        "crop_pct": 1.0,
        "crop_mode": MODES[given.get("resize_mode") or "shortest"],
        "interpolation": given.get("interpolation") or "bicubic",
        "mean": tuple(given["mean"]),
        "std": tuple(given["std"]),
    }
    why = "it gives vectors in the space that images and texts share"
    return Backbone(tower, tower.__call__, None, why, tower.__call__, config)
