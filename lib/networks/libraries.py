"""Which library a network is of: what stands before the colon of its `model`."""

from __future__ import annotations

from lib.errors import NetworkError
from lib.experiment.network_settings import NetworkSettings
from lib.networks import open_clip_networks, torchvision_networks, transformers_networks
from lib.networks.backbones import Backbone
from lib.networks.timm_networks import timm_backbone

LIBRARIES = {
    torchvision_networks.PREFIX: torchvision_networks.torchvision_backbone,
    transformers_networks.PREFIX: transformers_networks.transformers_backbone,
    open_clip_networks.PREFIX: open_clip_networks.open_clip_backbone,
}


def load_backbone(name: str, settings: NetworkSettings) -> Backbone:
    """Return the network that the experiment names, timm's where no other library is named. Raises NetworkError."""
    for prefix, load in LIBRARIES.items():
        if settings.model.startswith(prefix):
            if settings.pool is not None or settings.layer is not None:
                raise NetworkError(f"network {name!r}: pool and layer are chosen of timm's networks, leave them out")
            return load(name, settings)
    return timm_backbone(name, settings)
