"""timm's networks as backbones."""

from __future__ import annotations

from functools import partial
from typing import Any

import timm.data
from torch import nn

from lib.experiment.network_settings import NetworkSettings
from lib.networks.backbones import Backbone, Compute, is_linear
from lib.networks.pooling import TOKEN_AND_MEAN, block_features, choose_pool, pooled_features, token_and_mean
from lib.networks.weights import load_model

IMAGES_AND_TEXTS = ("clip", "pe_core")  # in the names of networks that were trained on pairs of an image and a text
CLASSIFIED = ("in1k", "in12k", "in21k", "in22k")  # in the tags of those that were then trained to classify


def timm_backbone(name: str, settings: NetworkSettings) -> Backbone:
    """Return timm's network with the weights, the pool and the layer of the experiment. Raises NetworkError."""
    model = load_model(name, settings)
    timms: Any = model
    config = timm.data.resolve_model_data_config(model)
    features: Compute = partial(pooled_features, model)
    head, headless = own_head(model)
    if settings.layer is not None:
        features = block_features(name, model, settings.layer, settings.pool)
        head, headless = None, "the output of an earlier block goes into no classifier"
    elif settings.pool is not None:
        choose_pool(name, model, settings.pool)
        if settings.pool == TOKEN_AND_MEAN:
            features = partial(token_and_mean, model)
            head, headless = None, f"its own classifier does not take {TOKEN_AND_MEAN}"
        elif settings.pool.startswith("cat"):
            head, headless = None, f"its own classifier does not take {settings.pool}, which has twice the numbers"
    return Backbone(model, features, head, headless, timms.__call__, config)


def own_head(model: nn.Module) -> tuple[nn.Module | None, str]:
    """Return the layer of timm's model that is C, and "", or None and why there is none."""
    timms: Any = model
    layer = timms.get_classifier() if hasattr(model, "get_classifier") else None
    inner = getattr(layer, "fc", None)  # of timm's ClassifierHead
    layer = inner if is_linear(inner) or isinstance(inner, nn.Identity) else layer
    if is_projection(model):
        return None, (
            f"its last layer is no classifier but the projection into the {timms.num_classes} numbers that images and "
            "texts share"
        )
    if isinstance(layer, nn.Identity) or layer is None:
        return None, "it has no classifier (num_classes = 0)"
    if isinstance(layer, tuple | nn.ModuleList):
        return None, f"it has {len(layer)} classifiers, whose scores it averages, and must have one"
    if not is_linear(layer):
        return None, f"its classifier is {type(layer).__name__}, and must be one Linear layer or one 1x1 convolution"
    return layer, ""


def is_projection(model: nn.Module) -> bool:
    """Return whether the last layer of timm's model projects images into a space that they share with texts.

    timm calls the size of that space num_classes: CLIP, SigLIP, EVA-CLIP, MobileCLIP, ViTamin and PE Core have 384 to
    1,280 of them. Labels below it would pass, and every accuracy would be meaningless.
    """
    timms: Any = model
    config = getattr(model, "pretrained_cfg", None) or {}
    words = [str(config.get(key) or "").lower() for key in ("architecture", "tag", "hf_hub_id")]
    trained_so = any(word in text for word in IMAGES_AND_TEXTS for text in words)
    classifies = any(word in text for word in CLASSIFIED for text in words)
    same = getattr(timms, "num_classes", 0) == config.get("num_classes")
    return trained_so and not classifies and same and timms.num_classes not in (0, 1000)
