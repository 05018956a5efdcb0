"""Class names, subsets and right labels that timm carries: "timm:imagenet_a_indices.txt" and others."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from lib.errors import ListingError

PREFIX = "timm:"


def file_named(uri: str) -> str:
    """Return the file of the installed timm that "timm:NAME" means; any other URI as it is.

    Raises ListingError that names the files there are.
    """
    if not uri.startswith(PREFIX):
        return uri
    spec = find_spec("timm")
    folders = [Path(place) / "data" / "_info" for place in (spec.submodule_search_locations or [])] if spec else []
    files = {path.name: path for folder in folders for path in folder.glob("*") if path.suffix in (".txt", ".json")}
    name = uri.removeprefix(PREFIX)
    if name not in files:
        raise ListingError(f"{uri}: timm carries no file {name!r}, but {', '.join(sorted(files)) or 'none'}")
    return str(files[name])
