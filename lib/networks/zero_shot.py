"""A zero-shot head as a linear classifier: text embeddings times the projection of a network of images and texts.

Such a network gives an image the class whose text embedding t_k has the largest cosine with v = P F(x) + p. Since |v|
is a positive factor of all cosines, argmax_k t_k . v / |v| = argmax_k (T P) F(x) + T p, with rows of T at unit length:
a linear classifier of F. A scale of the scores, and a bias that all classes share, change no argmax either.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
import torch
from torch import nn

from lib.errors import NetworkError
from lib.networks.backbones import is_linear
from lib.networks.classifiers import Classifier
from lib.storage.files import read_bytes

# Names that projections have in files of weights, and whether the matrix is turned there: (features, shared).
PROJECTIONS = {
    "visual_projection.weight": False,  # transformers' CLIP
    "visual.proj": True,  # OpenAI's CLIP, open_clip
    "visual.head.proj.weight": False,  # open_clip with networks of timm
    "visual.trunk.head.proj.weight": False,
    "visual.trunk.head.weight": False,
    "head.fc.weight": False,  # timm
    "head.weight": False,
}
Projection = tuple[torch.Tensor, torch.Tensor]  # P (shared, d) and p (shared,)


def zero_shot_head(embeddings: torch.Tensor, projection: Projection | None) -> Classifier:
    """Return C from text embeddings (classes, shared), which are brought to unit length.

    `projection` None means that features lie in the shared space already. Embeddings (shared, classes) are turned.
    Raises NetworkError if they do not fit the projection, or have a row without a direction.
    """
    if projection is not None:
        shared = len(projection[0])
        if embeddings.shape[1] != shared and embeddings.shape[0] == shared:
            embeddings = embeddings.T
        if embeddings.shape[1] != shared:
            raise NetworkError(
                f"text embeddings {tuple(embeddings.shape)} do not fit a projection into {shared} numbers: they are of "
                "another network of images and texts"
            )
    T = embeddings.double()
    lengths = T.norm(dim=1, keepdim=True)
    if not (lengths > 0).all() or not T.isfinite().all():
        raise NetworkError("text embeddings: a row is zero, NaN or infinite")
    T = T / lengths
    if projection is None:
        return Classifier(T.float(), torch.zeros(len(T)))
    P, p = (numbers.double() for numbers in projection)
    return Classifier((T @ P).float().contiguous(), (T @ p).float())


def projection_of(model: nn.Module) -> Projection | None:
    """Return the last layer of timm's model; None if it has none, as SigLIP, whose features are embeddings already.

    Raises NetworkError if the last layer is no affine map.
    """
    timms: Any = model
    layer = timms.get_classifier() if hasattr(model, "get_classifier") else None
    if layer is None or isinstance(layer, nn.Identity):
        return None
    if not is_linear(layer):
        raise NetworkError(f"the projection is {type(layer).__name__}, and must be one Linear layer")
    weight = layer.weight.detach().flatten(1)
    return weight, torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach()


def projection_in(what: str, state: dict[str, torch.Tensor]) -> Projection:
    """Return the projection among a network's tensors by name, as CLIP's implementations call it. Raises NetworkError.

    Names may have a prefix, such as "model.".
    """
    for name, turned in PROJECTIONS.items():
        for key, tensor in state.items():
            if (key == name or key.endswith(f".{name}")) and tensor.ndim == 2:
                P = tensor.T if turned else tensor
                bias = state.get(f"{key.removesuffix('weight')}bias", torch.zeros(len(P)))
                return P, bias
    raise NetworkError(f"{what} has no projection: none of its tensors is called {', '.join(PROJECTIONS)}")


def read_embeddings(uri: str, column: str | None = None) -> torch.Tensor:
    """Read text embeddings, one row for each class in the order of the labels, from .npy, .parquet or .safetensors.

    Parquet has them in `column`, a list of numbers; None is its only column of lists. Several embeddings for each
    class, (classes, prompts, shared) in .npy or .safetensors, are brought to unit length and averaged. Raises
    NetworkError if the file holds something else.
    """
    data = read_bytes(uri)
    try:
        found = _read(uri, data, column)
    except (ValueError, KeyError, OSError, pa.ArrowException, safetensors.SafetensorError) as error:
        raise NetworkError(f"{uri} can't be read as text embeddings: {error}") from error
    if found.ndim == 3:
        found = nn.functional.normalize(found.float(), dim=2).mean(1)
    if found.ndim != 2 or not found.is_floating_point():
        raise NetworkError(f"{uri}: expected numbers (classes, shared), got {tuple(found.shape)} of {found.dtype}")
    return found


def _read(uri: str, data: bytes, column: str | None) -> torch.Tensor:
    if uri.endswith(".npy"):
        return torch.from_numpy(np.load(io.BytesIO(data), allow_pickle=False))
    if uri.endswith(".safetensors"):
        tensors = safetensors.torch.load(data)
        name = _only(list(tensors) if column is None else [column], "tensors")
        return tensors[name]
    if uri.endswith(".parquet"):
        table = pq.read_table(pa.BufferReader(data))
        lists = [field.name for field in table.schema if pa.types.is_nested(field.type)]
        name = _only(lists if column is None else [column], "columns of lists")
        return torch.tensor(np.stack(table[name].to_numpy(zero_copy_only=False)))
    raise ValueError("expected a file that ends with .npy, .parquet or .safetensors")


def _only(names: list[str], what: str) -> str:
    if len(names) != 1:
        raise ValueError(f"expected one of its {what} to be named by --column, there are {names}")
    return names[0]
