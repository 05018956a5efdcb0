"""What an image costs a network, counted on a model that has shapes and no weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from lib.errors import NetworkError
from lib.experiment.network_settings import NetworkSettings
from lib.networks.libraries import load_backbone
from lib.storage.vector_files import vector_files, vector_size


@dataclass(frozen=True)
class Cost:
    """What F costs for one image, and how many features it has."""

    multiply_adds: float
    feature_size: int  # d


def network_cost(name: str, settings: NetworkSettings) -> Cost:
    """Return a network's cost at its input size. No weights are read. Raises NetworkError if it can't be made."""
    if settings.features is not None:
        files = settings.features
        return Cost(0.0, vector_size(vector_files(files.val)[0], files.key, files.vector))
    try:
        with torch.device("meta"):
            backbone = load_backbone(name, settings.model_copy(update={"weights": "random"}))
        backbone.model.eval().requires_grad_(False)  # the counter would follow gradients that there are none of
        side = settings.preprocessing.input_size
        height, width = (side, side) if side else backbone.config["input_size"][1:]
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            features = backbone.features(torch.empty(1, 3, height, width, device="meta"))
    except NetworkError:
        raise
    except Exception as error:
        raise NetworkError(f"network {name!r}: its cost cannot be counted: {error}") from error
    return Cost(counter.get_total_flops() / 2, features.shape[-1])
