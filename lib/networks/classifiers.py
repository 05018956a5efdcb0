"""C_A, a network's last, fully connected layer: features to class scores."""

from __future__ import annotations

import json
from dataclasses import dataclass

import safetensors.torch
import torch

from lib.storage.files import read_bytes


@dataclass(frozen=True)
class Classifier:
    """C: class scores = weight @ features + bias; `offset` is 1 where class 0 is "background"."""

    weight: torch.Tensor  # (classes, d)
    bias: torch.Tensor  # (classes,)
    offset: int = 0

    @property
    def classes(self) -> int:
        """How many labels there are: the background is none."""
        return len(self.bias) - self.offset

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """(n, d) features -> (n, classes) scores."""
        return features @ self.weight.T + self.bias

    def to_bytes(self) -> bytes:
        """As the contents of a .safetensors file."""
        tensors = {"weight": self.weight.contiguous(), "bias": self.bias.contiguous()}
        return bytes(safetensors.torch.save(tensors, metadata={"offset": str(self.offset)}))

    @classmethod
    def load(cls, uri: str) -> Classifier:
        """Read one that `python -m jobs.extract` wrote. Raises StorageError where there is none."""
        return cls.from_bytes(read_bytes(uri))

    @classmethod
    def from_bytes(cls, data: bytes) -> Classifier:
        tensors = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        offset = int(json.loads(data[8 : 8 + length]).get("__metadata__", {}).get("offset", 0))
        return cls(tensors["weight"], tensors["bias"], offset)
