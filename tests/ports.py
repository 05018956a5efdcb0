"""Which TCP ports processes listen on, as Linux tells it."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

LISTENING = "0A"


def listening(chosen: Iterable[int]) -> set[tuple[IPv4Address | IPv6Address, int]]:
    """(address, port) of each socket on which one of these processes waits for others."""
    sockets = set()
    for pid in chosen:
        with suppress(OSError):  # it has ended
            for descriptor in os.scandir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    sockets.add(os.readlink(descriptor.path))
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == LISTENING and f"socket:[{inode}]" in sockets:
                address, port = local.split(":")
                found.add((address_of(address), int(port, 16)))
    return found


def address_of(text: str) -> IPv4Address | IPv6Address:
    """An address as the kernel writes it: words of 32 bits, each in the machine's order of bytes."""
    words = [int(text[place : place + 8], 16) for place in range(0, len(text), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    address = ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
