"""Whether a Ray answers where an address leads. Ray itself asks for seven minutes before it says that none does."""

from __future__ import annotations

import socket

from ray._private.services import canonicalize_bootstrap_address

from lib.errors import RunError

SECONDS = 10.0  # that a machine far away may take to answer
CURE = "Start a Ray there with `ray start --head`, or give neither --address nor RAY_ADDRESS for a Ray of one's own"


def check_address(source: str, address: str) -> None:
    """Raise RunError unless something answers at an address that `source`, --address or RAY_ADDRESS, gives.

    The address "auto" stands for the one that the last `ray start` on this machine left in a file.
    """
    try:
        found = canonicalize_bootstrap_address(address.rpartition("://")[2]) or address
    except ConnectionError as error:
        raise RunError(f"{source} {address}: no Ray runs on this machine. {CURE}") from error
    except ValueError as error:
        raise RunError(f"{source} {address} is no address. Allowed: HOST:PORT, or auto") from error
    host, _, port = found.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS).close()
    except (OSError, ValueError) as error:
        raise RunError(
            f"{source} {address}: no Ray answers at {found} ({error}): it has ended, or cannot be reached. {CURE}"
        ) from error
