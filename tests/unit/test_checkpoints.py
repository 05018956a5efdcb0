"""TensorFlow's checkpoints: all three forms bit-equal, mangled ones refused, never a hang or a wrong tensor."""

import gzip
import io
import json
import random
import shutil
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lib.errors import CheckpointError
from lib.slim.checkpoints import Variables, read_checkpoint
from lib.slim.wire import parse_message

pytest.importorskip("google_crc32c", reason="the `slim` extra isn't installed")
FORMS = ("v1.ckpt", "v1snappy.ckpt", "v2.ckpt")


@pytest.fixture(scope="module")
def expected(slim: Path) -> Variables:
    return read_checkpoint(str(slim / "small_resnet_v2.v1.ckpt"))


def assert_equal(found: Variables, expected: Variables) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_v1_has_tensorflows_variables(slim: Path, expected: Variables) -> None:
    shapes = json.loads((slim / "small_resnet_v2.vars.json").read_text())
    assert {name: list(array.shape) for name, array in expected.items()} == shapes
    assert {array.dtype for array in expected.values()} == {np.dtype("<f4")}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_are_read_bit_equal(slim: Path, expected: Variables, form: str) -> None:
    assert_equal(read_checkpoint(str(slim / f"small_resnet_v2.{form}")), expected)


@pytest.mark.parametrize("form", FORMS)
def test_archives_are_read_as_they_are(slim: Path, expected: Variables, form: str, tmp_path: Path) -> None:
    path = tmp_path / "released.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file in sorted(slim.glob(f"small_resnet_v2.{form}*")):
            archive.add(file, arcname=f"folder/{file.name}")
        archive.add(slim / "README.md", arcname="folder/eval.graph")
    assert_equal(read_checkpoint(str(path)), expected)


def test_what_is_no_checkpoint_is_said_so(slim: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_checkpoint(str(tmp_path / "nothing"))
    with pytest.raises(CheckpointError, match="not a TensorFlow checkpoint"):
        read_checkpoint(str(slim / "README.md"))
    with tarfile.open(tmp_path / "graphs.tar.gz", "w:gz") as archive:
        archive.add(slim / "README.md", arcname="eval.graph")
    with pytest.raises(CheckpointError, match=r"must hold one checkpoint, has none among \['eval.graph'\]"):
        read_checkpoint(str(tmp_path / "graphs.tar.gz"))
    shutil.copy(slim / "small_resnet_v2.v2.ckpt.index", tmp_path)
    with pytest.raises(CheckpointError, match="data-00000-of-00001, which isn't there"):
        read_checkpoint(str(tmp_path / "small_resnet_v2.v2.ckpt"))


def cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def flip(data: bytes, draw: random.Random) -> bytes:
    mangled = bytearray(data)
    for _ in range(draw.choice([1, 1, 3, 20])):
        mangled[draw.randrange(len(mangled))] ^= 1 << draw.randrange(8)
    return bytes(mangled)


def move(data: bytes, draw: random.Random) -> bytes:
    """A stretch of the file over another one, as a broken download leaves it."""
    length, source, target = draw.randrange(1, 5000), draw.randrange(len(data)), draw.randrange(len(data))
    stretch = data[source : source + length]
    return data[:target] + stretch + data[target + len(stretch) :]


def refuses(uri: str, expected: Variables, named: str) -> bool:
    """Whether reading ends in a clear error; if not, all tensors must be right."""
    try:
        found = read_checkpoint(uri)
    except CheckpointError as caught:
        error = str(caught)
    else:
        assert_equal(found, expected)
        return False
    assert named in error
    return True


@pytest.mark.parametrize("mangle", [cut, flip, move])
@pytest.mark.parametrize("name", ["v1.ckpt", "v1snappy.ckpt", "v2.ckpt.index", "v2.ckpt.data-00000-of-00001"])
def test_mangled_files_end_in_a_clear_error_or_the_right_tensors(
    slim: Path, expected: Variables, tmp_path: Path, name: str, mangle: Callable[[bytes, random.Random], bytes]
) -> None:
    """Checksums tell every change in a block; only bytes that nothing reads may be other ones."""
    for file in slim.glob("small_resnet_v2.v*"):
        shutil.copyfile(file, tmp_path / file.name)
    path = tmp_path / f"small_resnet_v2.{name}"
    data = path.read_bytes()
    draw = random.Random(f"{name} {mangle.__name__}")
    checkpoint = str(tmp_path / f"small_resnet_v2.{name.split('.ckpt')[0]}.ckpt")
    refused = 0
    for _ in range(40):
        path.write_bytes(mangle(data, draw))
        refused += refuses(checkpoint, expected, "small_resnet_v2")
    assert refused > 25


def test_mangled_archives_end_in_a_clear_error(slim: Path, expected: Variables, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(slim / "small_resnet_v2.v1snappy.ckpt", arcname="small_resnet_v2.ckpt")
    path = tmp_path / "small_resnet_v2.tar.gz"
    draw = random.Random(5)
    refused = 0
    for mangle in (cut, flip, move) * 15:
        path.write_bytes(mangle(packed.getvalue(), draw))
        refused += refuses(str(path), expected, "small_resnet_v2")
    assert refused > 30


def test_contents_that_no_checksum_can_tell_end_in_a_clear_error_too(
    slim: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As if somebody had mangled a file and signed it anew: what is parsed behind the checksums must hold as well."""
    monkeypatch.setattr("lib.slim.sstables.check_crc", lambda what, data, masked: None)
    monkeypatch.setattr("lib.slim.checkpoints.check_crc", lambda what, data, masked: None)
    draw = random.Random(6)
    ended = {"read": 0, "refused": 0}
    for form in ("v1.ckpt", "v1snappy.ckpt", "v2.ckpt.index"):
        data = (slim / f"small_resnet_v2.{form}").read_bytes()
        shutil.copyfile(slim / "small_resnet_v2.v2.ckpt.data-00000-of-00001", tmp_path / "x.data-00000-of-00001")
        path = tmp_path / ("x.index" if form.endswith("index") else "x.v1")
        for mangle in (flip, move) * 60:
            path.write_bytes(mangle(data, draw))
            try:
                read_checkpoint(str(path))
                ended["read"] += 1
            except CheckpointError:
                ended["refused"] += 1
    assert min(ended.values()) > 10


@pytest.mark.parametrize(
    "message",
    [b"\x0a", b"\x0a\x05ab", b"\x08" + b"\xff" * 10, b"\x08" + b"\xff" * 9 + b"\x7f", b"\x0b", b"\x0d\x00", b"\x80"],
)
def test_mangled_messages_are_refused(message: bytes) -> None:
    with pytest.raises(CheckpointError, match="here: "):
        parse_message("here", memoryview(message))


def test_integers_come_back_with_their_sign() -> None:
    """field 1: the varint -2 in ten bytes; field 2: 1 and 300, packed."""
    message = parse_message("here", memoryview(b"\x08\xfe" + b"\xff" * 8 + b"\x01" + b"\x12\x03\x01\xac\x02"))
    assert np.array(message.integers(1), np.uint64).astype(np.int64).tolist() == [-2]
    assert message.integers(2) == [1, 300]


# Bombs: small files that would fill the memory or take minutes ------------------------------------------------------


def number(value: int) -> bytes:
    """A varint."""
    found = b""
    while value >= 0x80:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def block(entries: list[tuple[int, bytes, bytes]], snappy: bool = False) -> bytes:
    """A block of (shared, rest of the key, value), with its trailer."""
    import google_crc32c
    import pyarrow as pa

    data = b"".join(number(s) + number(len(k)) + number(len(v)) + k + v for s, k, v in entries) + bytes([0] * 4)
    stored = pa.compress(data, codec="snappy", asbytes=True) + b"\1" if snappy else data + b"\0"
    crc = google_crc32c.value(stored)
    return stored + ((((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def table(blocks: list[bytes], again: int = 1) -> bytes:
    """A table of these blocks, each of which the index names `again` times."""
    places, data = [], b""
    for one in blocks:
        places += again * [number(len(data)) + number(len(one) - 5)]
        data += one
    index = block([(0, b"k%08d" % k, place) for k, place in enumerate(places)])
    handles = number(0) + number(0) + number(len(data)) + number(len(index) - 5)
    return data + index + handles.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


FIELDS = b"\x0a\x00" * 2_000_000  # empty runs
BOMBS = {
    "fields without an end": lambda: table([block([(0, b"", FIELDS)], snappy=True)]),
    "one block again and again": lambda: table([block([(0, b"", b"\x08\x01")])], again=100_000),
    "blocks that unpack to zeros": lambda: table([block([(0, b"", bytes(2**22))], snappy=True)] * 40),
    "names that repeat": lambda: table([block([(0, b"k" * 10**6, b""), *[(10**6, b"", b"")] * 10**5])]),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_little_memory_and_time(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bomb.ckpt"
    path.write_bytes(BOMBS[name]())
    assert refused(path) < 2e8


def refused(path: Path) -> int:
    """The memory that refusing a file takes, bytes."""
    tracemalloc.start()
    begin = time.process_time()
    with pytest.raises(CheckpointError, match=rf"{path.name}.*(mangled|which no weights do)"):
        read_checkpoint(str(path))
    assert time.process_time() - begin < 20
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("header", [tarfile.REGTYPE, tarfile.XHDTYPE])
def test_an_archive_of_zeros_is_refused(tmp_path: Path, header: bytes) -> None:
    """3 MB would take 3 GB: as a file, or as a header that tarfile reads whole."""
    member = tarfile.TarInfo("zeros.ckpt")
    member.size, member.type = 200 << 20, header
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(member.tobuf(tarfile.GNU_FORMAT))
        for _ in range(200):
            file.write(bytes(1 << 20))
    assert refused(path) < 1e8
