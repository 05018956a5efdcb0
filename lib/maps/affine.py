"""The affine map M_{A->B} from A's feature space to B's."""

from __future__ import annotations

from dataclasses import dataclass

import safetensors.torch
import torch

from lib.storage.files import read_bytes, write_bytes

FACTORS = ("left", "right")  # of a map of low rank, as its file names them


@dataclass(frozen=True)
class AffineMap:
    """M_{A->B} F_A = M' F_A + b (paper, section 3). `weight` is M' (d_B, d_A), `bias` is b (d_B,).

    A map of rank k also has the two `factors` of M', (d_B, k) and (k, d_A), which its file holds in place of M'.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    factors: tuple[torch.Tensor, torch.Tensor] | None = None

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            shapes = f"{tuple(self.weight.shape)} and {tuple(self.bias.shape)}"
            raise ValueError(f"expected weight (d_B, d_A) and bias (d_B,), got {shapes}")

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Return M F_A, (n, d_B), for features F_A (n, d_A). Raises ValueError if they have another width."""
        if features.ndim != 2 or features.shape[1] != self.weight.shape[1]:
            raise ValueError(f"expected features (n, {self.weight.shape[1]}), got {tuple(features.shape)}")
        return features @ self.weight.T + self.bias

    @classmethod
    def identity(cls, size: int) -> AffineMap:
        """Return the map that changes nothing."""
        return cls(torch.eye(size), torch.zeros(size))

    @classmethod
    def of_factors(cls, left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor) -> AffineMap:
        """Return the map of rank k with M' = left @ right, (d_B, k) and (k, d_A)."""
        return cls(left @ right, bias, (left, right))

    def save(self, uri: str) -> None:
        """Write the map as a .safetensors file: weight and bias, or left, right and bias of a map of low rank."""
        weight = {"weight": self.weight} if self.factors is None else dict(zip(FACTORS, self.factors, strict=True))
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in (weight | {"bias": self.bias}).items()}
        write_bytes(uri, safetensors.torch.save(tensors))

    @classmethod
    def load(cls, uri: str) -> AffineMap:
        """Read a map that `python -m jobs.fit` wrote. Raises StorageError if there is none."""
        tensors = safetensors.torch.load(read_bytes(uri))
        if "weight" not in tensors:
            left, right = (tensors[name] for name in FACTORS)
            return cls.of_factors(left, right, tensors["bias"])
        return cls(tensors["weight"], tensors["bias"])
