"""LevelDB's sorted tables, in which TensorFlow writes checkpoints: blocks of keys and values, with checksums.

A table is blocks, then an index block whose values say where each block lies, then a footer of 48 bytes. After each
block come its compression (0 none, 1 snappy) and a masked CRC-32C of both. Sources: LevelDB's doc/table_format.md and
table/format.cc; TensorFlow's tensorflow/core/lib/io/table.cc.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from lib.errors import CheckpointError
from lib.slim.wire import varint

MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER, TRAILER = 48, 5  # bytes
PLAIN, SNAPPY = 0, 1
SNAPPY_RATIO = 64  # more than its copies, 64 bytes in 3, can reach
RATIO, SMALL = 4, 2**24  # a table's blocks unpack to so many times its size, and so many bytes, at most: weights do not
LONGEST_KEY = 4096  # bytes


def is_table(data: bytes) -> bool:
    """Return whether the bytes end as a table does."""
    return len(data) >= FOOTER and data[-len(MAGIC) :] == MAGIC


def table_entries(uri: str, data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield all keys and values of a table, in order. Raises CheckpointError if it is no table, or is mangled."""
    if not is_table(data):
        raise CheckpointError(
            f"{uri} is not a TensorFlow checkpoint, or is truncated: it doesn't end as such a file does"
        )
    view = memoryview(data)
    _, place = _handle(uri, view[-FOOTER:], 0)  # of the meta-index, which is empty in checkpoints
    index, _ = _handle(uri, view[-FOOTER:], place)
    end = unpacked = 0
    for _, value in _entries_of(uri, _block(uri, view, *index)):
        (offset, size), _ = _handle(uri, value, 0)
        if offset < end:
            raise CheckpointError(f"{uri}: the block at byte {offset} lies in the one before it: mangled")
        block = _block(uri, view, offset, size)
        end, unpacked = offset + size, unpacked + len(block)
        if unpacked > RATIO * len(data) + SMALL:
            raise CheckpointError(f"{uri}: its {len(data)} bytes unpack to more than any weights do: mangled")
        yield from _entries_of(uri, block)


def _handle(uri: str, data: memoryview, start: int) -> tuple[tuple[int, int], int]:
    """Return where a block lies, (offset, size) in bytes, and the place after the handle."""
    offset, place = varint(uri, data, start)
    size, place = varint(uri, data, place)
    return (offset, size), place


def _block(uri: str, data: memoryview, offset: int, size: int) -> memoryview:
    """Return a block's bytes, checked and decompressed."""
    if offset + size + TRAILER > len(data):
        raise CheckpointError(f"{uri}: a block lies behind the file's end: truncated or mangled")
    stored, kind = data[offset : offset + size + 1], data[offset + size]
    checksum = int.from_bytes(data[offset + size + 1 : offset + size + TRAILER], "little")
    check_crc(f"{uri}: block at byte {offset}", stored, checksum)
    block = stored[:-1]
    if kind == SNAPPY:
        return _unsnap(f"{uri}: block at byte {offset}", block)
    if kind != PLAIN:
        raise CheckpointError(f"{uri}: block at byte {offset} has the unknown compression {kind}")
    return block


def _unsnap(what: str, block: memoryview) -> memoryview:
    """Return a block decompressed by snappy. It is refused if it claims to unpack to more than snappy can reach."""
    size, _ = varint(what, block, 0)
    if size > SNAPPY_RATIO * len(block):
        raise CheckpointError(f"{what} says that it unpacks to {size} bytes, which can't be: mangled")
    try:
        return memoryview(pa.decompress(block, decompressed_size=size, codec="snappy", asbytes=True))
    except (OSError, pa.ArrowException) as error:
        raise CheckpointError(f"{what} can't be unpacked: {error}") from error


def _entries_of(uri: str, block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield a block's keys and values. A key is stored as its difference from the key before: (shared, new, value)
    lengths.
    """
    if len(block) < 4:
        raise CheckpointError(f"{uri}: a block of {len(block)} bytes: truncated or mangled")
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise CheckpointError(f"{uri}: a block with {restarts} restarts in {len(block)} bytes: mangled")
    key, place = b"", 0
    while place < end:
        shared, place = varint(uri, block, place)
        new, place = varint(uri, block, place)
        length, place = varint(uri, block, place)
        if shared + new > LONGEST_KEY:
            raise CheckpointError(f"{uri}: a name of {shared + new} bytes, up to {LONGEST_KEY} are read: mangled")
        if shared > len(key) or new + length > end - place:
            raise CheckpointError(f"{uri}: an entry is longer than its block: truncated or mangled")
        key = key[:shared] + bytes(block[place : place + new])
        yield key, block[place + new : place + new + length]
        place += new + length


def check_crc(what: str, data: memoryview, masked: int) -> None:
    """Raise CheckpointError unless the bytes have this checksum, a CRC-32C that is rotated and shifted as LevelDB masks
    it.
    """
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    if crc32c(data) != ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF:
        raise CheckpointError(f"{what} doesn't have its checksum: mangled, or not copied to its end")


def crc32c(data: memoryview) -> int:
    """Return the CRC-32C (Castagnoli). Raises CheckpointError if its package is not installed."""
    try:
        import google_crc32c
    except ModuleNotFoundError as error:
        raise CheckpointError(
            "reading TensorFlow's checkpoints needs google-crc32c: pip install 'affine-features[slim]', or -e '.[slim]'"
        ) from error
    return int(google_crc32c.value(bytes(data)))
