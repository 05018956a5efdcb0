"""C_A, the last, fully connected layer of a network: features to class scores."""

from __future__ import annotations

from dataclasses import dataclass

import safetensors.torch
import torch

from lib.errors import StorageError
from lib.experiment.layout import Layout
from lib.networks.classifier_records import classifier_record, has_classifier
from lib.storage.records import FileRecord, read_recorded
from lib.storage.tensor_headers import metadata_of
from lib.storage.tensors import parse_tensors


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
    def load(cls, uri: str, record: FileRecord | None = None) -> Classifier:
        """Read a classifier that `python -m jobs.extract` wrote, and check it if there is a record of it.

        Raises StorageError if there is none, and DamagedFile if it is not what was recorded.
        """
        return cls.from_bytes(read_recorded(uri, record), uri)

    @classmethod
    def from_bytes(cls, data: bytes, uri: str = "a classifier") -> Classifier:
        """Return what the contents of a .safetensors file hold. Raises DamagedFile, which names it."""
        tensors = parse_tensors(uri, data)
        return cls(tensors["weight"], tensors["bias"], int(metadata_of(data).get("offset", 0)))


def load_classifier(files: Layout, network: str) -> Classifier | None:
    """Read a network's classifier, checked against its manifest if there is one; None if that says that it has none.

    Raises StorageError if there is none, and DamagedFile if it is not what was written.
    """
    if not has_classifier(files, network):
        return None
    return Classifier.load(files.classifier(network), classifier_record(files, network))


def needed_classifier(files: Layout, network: str) -> Classifier:
    """Read a classifier as `load_classifier` does. Raises StorageError also if the network has none."""
    found = load_classifier(files, network)
    if found is None:
        raise StorageError(f"network {network!r} has no classifier, says {files.classifier_manifest(network)}")
    return found
