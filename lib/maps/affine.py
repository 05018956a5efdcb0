"""The affine map M_{A->B} from A's feature space to B's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import matmul
from typing import Any

import safetensors.torch
import torch

from lib.storage.files import read_bytes, write_bytes
from lib.storage.records import FileRecord
from lib.storage.tensor_headers import metadata_of
from lib.storage.tensors import load_tensors, parse_tensors

FACTORS = ("left", "right")  # of a map of low rank, as its file names them


class AffineMap:
    """M_{A->B} F_A = M' F_A + b (paper, section 3). `weight` is M' (d_B, d_A), `bias` is b (d_B,).

    M' may be given as the `factors` of a product, from the left to the right, as for a map of low rank: (d_B, k) and
    (k, d_A). They are then applied one after another, and never multiplied unless `weight` is asked for. Raises
    ValueError if the shapes do not fit each other.
    """

    def __init__(self, weight: torch.Tensor | Sequence[torch.Tensor], bias: torch.Tensor) -> None:
        self.factors = (weight,) if isinstance(weight, torch.Tensor) else tuple(weight)
        self.bias = bias
        shapes = [tuple(factor.shape) for factor in self.factors]
        inner = [size for shape in shapes for size in shape][1:-1]
        if any(len(shape) != 2 for shape in shapes) or inner[::2] != inner[1::2] or bias.shape != shapes[0][:1]:
            of_weight = " @ ".join(map(str, shapes))
            raise ValueError(f"expected weight (d_B, d_A) and bias (d_B,), got {of_weight} and {tuple(bias.shape)}")

    @property
    def weight(self) -> torch.Tensor:
        """M', (d_B, d_A)."""
        return _product(self.factors)

    @property
    def d_A(self) -> int:
        """The source's feature size."""
        return self.factors[-1].shape[1]

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Return M F_A, (n, d_B), for features F_A (n, d_A). Raises ValueError if they have another width."""
        if features.ndim != 2 or features.shape[1] != self.d_A:
            raise ValueError(f"expected features (n, {self.d_A}), got {tuple(features.shape)}")
        return reduce(lambda rows, factor: rows @ factor.T, reversed(self.factors), features) + self.bias

    @classmethod
    def identity(cls, size: int) -> AffineMap:
        """Return the map that changes nothing."""
        return cls(torch.eye(size), torch.zeros(size))

    def to(self, like: torch.device | torch.dtype | str) -> AffineMap:
        """Return the map on another device, or in another number type."""
        return AffineMap([factor.to(like) for factor in self.factors], self.bias.to(like))

    def multiplied(self) -> AffineMap:
        """Return the same map with M' as one matrix."""
        return AffineMap(self.weight, self.bias)

    def in_two_factors(self) -> AffineMap:
        """Return the same map as the product of two factors that meet where the product is narrowest.

        Raises ValueError if M' is one matrix.
        """
        if len(self.factors) < 2:
            raise ValueError("expected a map with two factors or more, this one's weight is one matrix")
        widths = [factor.shape[1] for factor in self.factors[:-1]]
        place = 1 + widths.index(min(widths))
        return AffineMap([_product(self.factors[:place]), _product(self.factors[place:])], self.bias)

    def save(self, uri: str, origin: Mapping[str, Any] | None = None) -> FileRecord:
        """Write the map as a .safetensors file: weight and bias, or left, right and bias if it has two factors or more.

        Numbers are float32. The file's metadata says in "origin", as JSON, what the map was made from. Return what its
        manifest is to record of the file.
        """
        if len(self.factors) == 1:
            weight = {"weight": self.weight}
        else:
            weight = dict(zip(FACTORS, self.in_two_factors().factors, strict=True))
        tensors = {
            name: tensor.detach().float().cpu().contiguous() for name, tensor in (weight | {"bias": self.bias}).items()
        }
        said = {"origin": json.dumps(origin, sort_keys=True)} if origin else None  # of several keys the order is chance
        data = safetensors.torch.save(tensors, said)
        write_bytes(uri, data)
        return FileRecord.of(data)

    @classmethod
    def load(cls, uri: str, record: FileRecord | None = None) -> AffineMap:
        """Read a map that `python -m jobs.fit` wrote, and check it if there is a record of it.

        Raises StorageError if there is none, and DamagedFile if it is not what was recorded.
        """
        return cls._of(load_tensors(uri, record))

    @classmethod
    def load_with_origin(cls, uri: str) -> tuple[AffineMap, dict[str, Any]]:
        """Read a map, and what its file says that it was made from; {} if an earlier version wrote it."""
        data = read_bytes(uri)
        return cls._of(parse_tensors(uri, data)), json.loads(metadata_of(data).get("origin", "{}"))

    @classmethod
    def _of(cls, tensors: Mapping[str, torch.Tensor]) -> AffineMap:
        weight = tensors["weight"] if "weight" in tensors else [tensors[name] for name in FACTORS]
        return cls(weight, tensors["bias"])


def _product(factors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the matrices' product, computed in float64, in their own number type."""
    if len(factors) == 1:
        return factors[0]
    return reduce(matmul, [factor.double() for factor in factors]).to(factors[0].dtype)
