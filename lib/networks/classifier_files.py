"""A classifier from a file: a linear head of one's own, Meta's for DINOv2, or a zero-shot head."""

from __future__ import annotations

import safetensors
import torch

from lib.errors import NetworkError
from lib.networks.classifiers import Classifier
from lib.networks.weight_files import cached
from lib.networks.weights import read_state


def read_classifier(name: str, uri: str, offset: int, feature_size: int) -> Classifier:
    """Return the classifier of the network `name` from a .safetensors or .pth file, for features of this size.

    The file holds one matrix (classes, d), whose name ends with "weight", and may hold its bias (classes,). A
    .safetensors file may say in its metadata which `offset` its classes have; `offset` is what the experiment says.
    Raises NetworkError if the file holds anything else, or is for other features.
    """
    path = cached(uri)
    state = read_state(name, uri, path)
    weights = {key: tensor.flatten(1) for key, tensor in state.items() if _is_matrix(key, tensor)}
    if len(weights) != 1:
        raise NetworkError(
            f"network {name!r}: {uri} must hold one matrix called weight, (classes, features), and its bias; it holds "
            f"{', '.join(f'{key} {tuple(tensor.shape)}' for key, tensor in list(state.items())[:6]) or 'nothing'}"
        )
    key, weight = next(iter(weights.items()))
    bias = state.get(f"{key.removesuffix('weight')}bias", torch.zeros(len(weight)))
    if bias.shape != weight.shape[:1]:
        raise NetworkError(f"network {name!r}: {uri}: {tuple(weight.shape)} weights, but {tuple(bias.shape)} biases")
    if weight.shape[1] != feature_size:
        raise NetworkError(
            f"network {name!r}: its classifier {uri} takes {weight.shape[1]} features, but the network gives "
            f"{feature_size}. A head of DINOv2's authors, for instance, takes the class token and the mean of the "
            'patch tokens: pool = "token+avg"'
        )
    if not (weight.isfinite().all() and bias.isfinite().all()):
        raise NetworkError(f"network {name!r}: its classifier {uri} holds NaN or infinity")
    if path.suffix == ".safetensors" and not offset:
        with safetensors.safe_open(path, "pt") as file:
            offset = int((file.metadata() or {}).get("offset", 0))
    return Classifier(weight.float().contiguous(), bias.float().contiguous(), offset)


def _is_matrix(key: str, tensor: torch.Tensor) -> bool:
    """Return whether a tensor is the weight of a Linear layer, or of a 1x1 convolution."""
    return key.endswith("weight") and (tensor.ndim == 2 or (tensor.ndim == 4 and tensor.shape[2:] == (1, 1)))
