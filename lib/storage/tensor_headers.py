"""Headers of .safetensors files: which tensors they hold, and what else was written. Nothing here imports torch."""

from __future__ import annotations

import json
from typing import Any

from lib.errors import DamagedFile

LENGTH = 8  # bytes before the header: its length


def metadata_of(data: bytes) -> dict[str, str]:
    """Return the metadata in the header of a file's contents, which must be what was written."""
    found: dict[str, str] = _header(data).get("__metadata__", {})
    return found


def shape_of(uri: str, data: bytes, tensor: str) -> list[int]:
    """Return a tensor's shape from a file's contents. Raises DamagedFile, with the file's name, if it is not there."""
    try:
        return [int(size) for size in _header(data)[tensor]["shape"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFile(uri, f"it cannot be parsed ({error})") from error


def _header(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:LENGTH], "little")
    return dict(json.loads(data[LENGTH : LENGTH + length]))
