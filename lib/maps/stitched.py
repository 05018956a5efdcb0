"""The stitched network C_B(M F_A) as one torch module, and the networks that its map was made for."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lib.errors import NetworkError
from lib.maps.affine import AffineMap
from lib.networks.classifiers import Classifier
from lib.networks.network import Network


class Stitched(nn.Module):
    """F_A, then M_{A->B}, then C_B: class scores of B from images that A sees.

    Takes pixels (n, 3, h, w), 0..1, that A's preprocessing has resized and cropped; it normalises them as A does. The
    scores are (n, classes), those of a background class included. Raises ValueError if the sizes do not fit each other.
    """

    def __init__(self, F_A: Network, M: AffineMap, C_B: Classifier) -> None:
        super().__init__()
        if M.d_A != F_A.feature_size or len(M.bias) != C_B.weight.shape[1]:
            raise ValueError(
                f"expected a map ({C_B.weight.shape[1]}, {F_A.feature_size}), got ({len(M.bias)}, {M.d_A})"
            )
        self.network = F_A.model
        self.compute = F_A.backbone.features
        device = F_A.device
        self.register_buffer("mean", torch.tensor(F_A.mean, device=device).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(F_A.std, device=device).view(1, 3, 1, 1))
        self.map, self.classifier = nn.Linear(*M.weight.T.shape), nn.Linear(*C_B.weight.T.shape)
        for layer, weight, bias in ((self.map, M.weight, M.bias), (self.classifier, C_B.weight, C_B.bias)):
            layer.weight.data, layer.bias.data = weight.float().to(device), bias.float().to(device)
        self.requires_grad_(False).eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return B's class scores (n, classes) for pixels (n, 3, h, w) in 0..1."""
        mean: Any = self.mean
        std: Any = self.std
        scores: torch.Tensor = self.classifier(self.map(self.compute((pixels - mean) / std)))
        return scores

    @classmethod
    def load(cls, F_A: Network, uri: str, C_B: Classifier, B: Network | None = None) -> Stitched:
        """Read the map and put it between both networks.

        Raises NetworkError if the map's file says that it was made for other weights than A's, or than B's if B is
        given.
        """
        M, made_for = AffineMap.load_with_origin(uri)
        for side, network in (("source", F_A), ("target", B)):
            said = made_for.get(f"{side}_fingerprint")
            if network is not None and said is not None and said != network.feature_fingerprint():
                raise NetworkError(
                    f"{uri} was fitted with other weights or features of its {side}, {made_for.get(side)!r}, than "
                    f"those of network {network.name!r}: {said}, not {network.feature_fingerprint()}"
                )
        return cls(F_A, M, C_B)
