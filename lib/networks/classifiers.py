"""C_A, the last, fully connected layer of a network: features to class scores."""

from __future__ import annotations

import json
from dataclasses import dataclass

import safetensors.torch
import torch

from lib.storage.files import read_bytes


@dataclass(frozen=True)
class Classifier:
    """C: class scores = weight @ features + bias. `offset` is 1 if class 0 is "background", else 0."""

    weight: torch.Tensor  # (classes, d)
    bias: torch.Tensor  # (classes,)
    offset: int = 0

    @property
    def classes(self) -> int:
        """The number of classes that labels can name; the background is none of them."""
        return len(self.bias) - self.offset

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Return class scores (n, classes) for features (n, d)."""
        return features @ self.weight.T + self.bias

    def to_bytes(self) -> bytes:
        """Return the contents of a .safetensors file."""
        tensors = {"weight": self.weight.contiguous(), "bias": self.bias.contiguous()}
        return bytes(safetensors.torch.save(tensors, metadata={"offset": str(self.offset)}))

    @classmethod
    def load(cls, uri: str) -> Classifier:
        """Read a classifier that `python -m jobs.extract` wrote. Raises StorageError if there is none."""
        return cls.from_bytes(read_bytes(uri))

    @classmethod
    def from_bytes(cls, data: bytes) -> Classifier:
        """Read the contents of a .safetensors file."""
        tensors = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        offset = int(json.loads(data[8 : 8 + length]).get("__metadata__", {}).get("offset", 0))
        return cls(tensors["weight"], tensors["bias"], offset)
