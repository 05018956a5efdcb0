"""TensorFlow checkpoints without TensorFlow, as numpy arrays: V1 (one file), and V2 (an index and its data files).

Both are tables (lib/slim/sstables.py) of protocol buffers (lib/slim/wire.py). Sources, in tensorflow/core:
util/saved_tensor_slice.proto, protobuf/tensor_bundle.proto, framework/tensor.proto.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from lib.errors import CheckpointError
from lib.slim.sstables import RATIO, SMALL, check_crc, is_table, table_entries
from lib.slim.wire import Message, parse_message
from lib.storage.files import is_file, read_bytes

# TensorFlow's DataType -> numpy, and the field of TensorProto that holds such numbers where they aren't raw bytes.
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}
VALUES = {"<f4": 5, "<f8": 6, "<i4": 7, "<i8": 10}
GZIP = b"\x1f\x8b"  # the first bytes of what gzip packed
Variables = dict[str, np.ndarray]


def read_checkpoint(uri: str) -> Variables:
    """Read all variables of a checkpoint: a V1 file, a V2 prefix or its .index, or a .tar.gz with one of them inside.

    Raises CheckpointError if it is no checkpoint, or is truncated or mangled, and StorageError if it cannot be read.
    """
    if uri.endswith((".tar.gz", ".tgz", ".tar")):
        files = _unpack(uri, read_bytes(uri))
        return _read(_only_checkpoint(uri, files), lambda name: files[name], lambda name: name in files)
    return _read(uri, read_bytes, is_file)


def _read(uri: str, open_: Callable[[str], bytes], exists: Callable[[str], bool]) -> Variables:
    prefix = uri.removesuffix(".index")
    if exists(f"{prefix}.index"):
        return _read_v2(prefix, open_(f"{prefix}.index"), open_, exists)
    if not exists(uri):
        raise CheckpointError(
            f"no checkpoint at {uri}: give a V1 file, a V2 prefix (of .index and .data-*), or a .tar.gz"
        )
    return _read_v1(uri, open_(uri))


def _unpack(uri: str, data: bytes) -> dict[str, bytes]:
    """Return the files in a .tar or .tar.gz. Raises CheckpointError if it unpacks to more than any checkpoint does."""
    plain = io.BytesIO(data)
    stream: Any = Bounded(uri, gzip.GzipFile(fileobj=plain) if data.startswith(GZIP) else plain, len(data))
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            found: dict[str, bytes] = {}
            for member in archive:
                if member.isreg() and not member.issparse():  # a sparse file of no bytes may have a size of any
                    found[member.name] = archive.extractfile(member).read()  # type: ignore[union-attr]
            return found
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{uri} is not a tar archive, or a truncated one: {error}") from error


class Bounded:
    """A stream that ends in a CheckpointError when more comes out of it than `packed` bytes of weights can hold."""

    def __init__(self, uri: str, stream: io.BufferedIOBase, packed: int) -> None:
        self.uri, self.stream, self.packed = uri, stream, packed
        self.most = self.left = RATIO * packed + SMALL

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, or what is left of them."""
        data = self.stream.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(data)
        if self.left < 0:
            raise CheckpointError(
                f"{self.uri}: its {self.packed:,} bytes unpack to more than {self.most:,}, which no weights do: it was "
                "made to fill the memory, or holds other files. Unpack it, and name the checkpoint in it"
            )
        return data


def _only_checkpoint(uri: str, files: dict[str, bytes]) -> str:
    """Return the one checkpoint of an archive. The released archives hold graphs in other formats beside it."""
    found = [name for name in files if name.endswith(".index") or is_table(files[name])]
    if len(found) != 1:
        raise CheckpointError(f"{uri} must hold one checkpoint, has {found or 'none'} among {sorted(files)}")
    return found[0]


def _read_v1(uri: str, data: bytes) -> Variables:
    found: Variables = {}
    contents: dict[str, Message] = {}  # a SavedSliceMeta each
    for key, value in table_entries(uri, data):
        message = parse_message(uri, value)  # a SavedTensorSlices
        if key == b"":
            contents = {variable.text(1): variable for variable in message.message(1).messages(1)}
            continue
        saved = message.message(2)
        name, what = saved.text(1), f"{uri}: variable {saved.text(1)!r}"
        if name not in contents:
            raise CheckpointError(f"{what} isn't in the table of contents: mangled")
        if name in found:
            raise CheckpointError(f"{what} is saved in slices (a partitioned one), which isn't read")
        found[name] = _tensor(what, saved.message(3), contents[name])
    missing = sorted(contents.keys() - found.keys())
    if missing or not contents:
        raise CheckpointError(f"{uri}: variables {missing[:3]} are in the table of contents and nowhere else: mangled")
    return found


def _tensor(what: str, tensor: Message, described: Message) -> np.ndarray:
    """Read a TensorProto's numbers, which are raw bytes or stand in the field for their type."""
    dtype, shape = _dtype(what, described.integer(3)), _shape(described.message(2))
    raw = tensor.run(4)
    if len(raw):
        return _shaped(what, raw, dtype, shape)
    field = VALUES[dtype.str]
    if dtype.kind == "f":  # packed into one run, or one run each
        return _shaped(what, b"".join(tensor.runs.get(field, [])), dtype, shape)
    return _shaped(what, np.array(tensor.integers(field), np.uint64).astype(dtype).tobytes(), dtype, shape)


def _read_v2(prefix: str, index: bytes, open_: Callable[[str], bytes], exists: Callable[[str], bool]) -> Variables:
    uri = f"{prefix}.index"
    found: Variables = {}
    shards: list[bytes] = []
    read = 0
    for key, value in table_entries(uri, index):
        if key == b"":
            shards = _shards(prefix, parse_message(uri, value), open_, exists)
            continue
        name = key.decode(errors="replace")
        found[name] = _bundled(f"{uri}: variable {name!r}", parse_message(uri, value), shards)
        read += found[name].nbytes
        if read > sum(map(len, shards)):
            raise CheckpointError(f"{uri}: variable {name!r} lies in another one: mangled")
    if not found:
        raise CheckpointError(f"{uri} names no variable")
    return found


def _shards(prefix: str, header: Message, open_: Callable[[str], bytes], exists: Callable[[str], bool]) -> list[bytes]:
    """Read a BundleHeaderProto: return the bytes of each data file."""
    count = header.integer(1)
    if header.integer(2) != 0:
        raise CheckpointError(f"{prefix}.index is big-endian, which isn't read")
    shards = []
    for number in range(count):
        name = f"{prefix}.data-{number:05d}-of-{count:05d}"
        if not exists(name):
            raise CheckpointError(f"{prefix}.index needs {name}, which isn't there")
        shards.append(open_(name))
    return shards


def _bundled(what: str, entry: Message, shards: list[bytes]) -> np.ndarray:
    """Read a BundleEntryProto: where a tensor lies, and the checksum of its bytes."""
    if entry.messages(7):
        raise CheckpointError(f"{what} is saved in slices (a partitioned one), which isn't read")
    shard, offset, size = entry.integer(3), entry.integer(4), entry.integer(5)
    if shard >= len(shards) or offset + size > len(shards[shard]):
        raise CheckpointError(f"{what}: its data file ends before it: truncated, or of another checkpoint")
    raw = memoryview(shards[shard])[offset : offset + size]
    check_crc(what, raw, int.from_bytes(entry.run(6), "little"))
    return _shaped(what, raw, _dtype(what, entry.integer(1)), _shape(entry.message(2)))


def _dtype(what: str, kind: int) -> np.dtype[Any]:
    if kind not in DTYPES:
        raise CheckpointError(f"{what} has TensorFlow's data type {kind}; float32, float64, int32 and int64 are read")
    return np.dtype(DTYPES[kind])


def _shape(shape: Message) -> tuple[int, ...]:
    """Read a TensorShapeProto: repeated dimensions (field 2), each with its size (field 1)."""
    return tuple(dimension.integer(1) for dimension in shape.messages(2))


def _shaped(what: str, raw: bytes | memoryview, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    if prod(shape) * dtype.itemsize != len(raw):
        raise CheckpointError(f"{what} has {len(raw)} bytes, as {dtype} of shape {shape} it must have others: mangled")
    return np.frombuffer(raw, dtype).reshape(shape)
