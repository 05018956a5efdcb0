"""Files of tensors (.safetensors), each checked against what a manifest records of it."""

from __future__ import annotations

import safetensors
import safetensors.torch
import torch

from lib.errors import DamagedFile
from lib.storage.records import FileRecord, read_recorded


def load_tensors(uri: str, record: FileRecord | None = None) -> dict[str, torch.Tensor]:
    """Return the tensors in a file.

    Raises StorageError if there is no file, and DamagedFile if it is not what was recorded, or cannot be parsed.
    """
    return parse_tensors(uri, read_recorded(uri, record))


def parse_tensors(uri: str, data: bytes) -> dict[str, torch.Tensor]:
    """Return the tensors in a file's contents. Raises DamagedFile, with the file's name, if they cannot be parsed."""
    try:
        return dict(safetensors.torch.load(data))
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise DamagedFile(uri, f"it cannot be parsed ({error})") from error
