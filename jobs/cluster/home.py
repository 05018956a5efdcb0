"""A home folder for processes whose user has none, as in containers with a user that the image does not know."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path


def provide_home() -> None:
    """Set HOME to a folder below the temporary one if the user has no home, which Ray Train asks for when imported.

    If there is a home that cannot be written, Ray could not keep its token there, so it gets one for this run alone.
    Processes that this one starts inherit both.
    """
    try:
        home = Path.home()
        home.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, OSError):
        home = Path(tempfile.gettempdir(), f"home-of-{os.getuid()}")
        home.mkdir(mode=0o700, exist_ok=True)
        os.environ["HOME"] = str(home)
    if not writable(home) and not token_file().exists():
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def token_file() -> Path:
    """Return where Ray keeps the token of its user."""
    return Path.home() / ".ray" / "auth_token"


def provide_token() -> None:
    """Make Ray's token, if there is none, and let nobody else read it: Ray by itself lets all of the machine's users.

    Whoever has it may run anything as the user whose Ray takes it. Where the environment names another one, nothing is
    done.
    """
    token = token_file()
    if any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE")):
        return
    if not token.exists():
        token.parent.mkdir(mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=token.parent) as made:  # with the rights 0600
            made.write(secrets.token_hex(32))
            made.flush()
            with suppress(FileExistsError):  # of another command that starts just now
                os.link(made.name, token)
    status = token.stat()
    if status.st_uid == os.getuid() and status.st_mode & 0o077:
        token.chmod(0o600)


def writable(folder: Path) -> bool:
    """Return whether a file can be made in a folder."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
