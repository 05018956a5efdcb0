"""Where a network's weights lie on this machine. Nothing here imports torch."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import tempfile
from pathlib import Path

from lib.errors import NetworkError
from lib.storage.files import file_version, read_bytes


def cache_folder() -> Path:
    """Return where fetched weights are kept: the user's cache, or the temporary folder if there is no home."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "affine-features"
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} cannot be written")
    except (RuntimeError, OSError):  # no home, or one that cannot be written
        folder = Path(tempfile.gettempdir()) / f"affine-features-{os.getuid()}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def package_file(name: str, module: str) -> Path:
    """Return the one weights file in an installed package, none of whose code is run.

    Raises NetworkError if there is none, or more than one.
    """
    if not module.isidentifier():  # to find a module inside a package, Python would run the package
        raise NetworkError(f"network {name!r}: package:{module} must name a package as `import` does, without a dot")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise NetworkError(
            f"network {name!r}: package {module} isn't installed: pip install {module.replace('_', '-')}"
        )
    folder = Path(spec.origin).parent
    found = sorted([*folder.rglob("*.pth"), *folder.rglob("*.safetensors")])
    if len(found) != 1:
        raise NetworkError(
            f"network {name!r}: package {module} must hold one .pth or .safetensors file, has {len(found)}"
        )
    return found[0]


def cached(uri: str) -> Path:
    """Return a local path of the file at `uri`.

    A remote file is fetched once on each node, whoever asks first, and again when it changes. Raises StorageError.
    """
    if "://" not in uri:
        return Path(uri).expanduser().absolute()
    folder = cache_folder()
    path = folder / (hashlib.sha256(f"{uri} {file_version(uri)}".encode()).hexdigest()[:24] + Path(uri).suffix)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
                file.write(read_bytes(uri))
            os.replace(file.name, path)
    return path
