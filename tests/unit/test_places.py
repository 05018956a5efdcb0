"""Images anywhere that fsspec knows: a store in memory, a web server on this machine, and what is not known."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from web import IMAGES, Web, contents, serving

from lib.errors import StorageError
from lib.experiment.settings import Split
from lib.images.fetching import ChangedFileError, read_images
from lib.images.listing import list_images
from lib.storage.files import read_bytes, write_bytes
from lib.storage.probes import check_readable
from lib.storage.uris import resolve


@pytest.fixture
def memory() -> Iterator[str]:
    """A folder of fsspec's store in memory."""
    for name, data in contents().items():
        fsspec.filesystem("memory").pipe(f"/images/{name}", data)
    yield "memory://images"
    fsspec.filesystem("memory").rm("/images", recursive=True)


@pytest.mark.parametrize("place", ["tree", "list.csv", "shards", "parquet", "shards/0.tar", "parquet/*.parquet"])
def test_every_format_is_read_from_a_place_of_fsspec(memory: str, place: str) -> None:
    check_readable(f"{memory}/{place}")
    listing = list_images(Split(location=f"{memory}/{place}"))
    assert set(read_images(listing)) == set(IMAGES.values())
    assert all(path.startswith("memory://") for path in listing["path"].to_pylist())
    assert listing["version"].null_count == 0


def test_a_file_of_a_place_that_changed_gives_no_image(memory: str) -> None:
    listing = list_images(Split(location=f"{memory}/shards"))
    shard = fsspec.filesystem("memory").store["/images/shards/0.tar"]
    shard.created = shard.modified = shard.created.replace(year=2001)
    assert all(isinstance(one, ChangedFileError) for one in read_images(listing))


@pytest.fixture
def web() -> Iterator[tuple[str, type[Web]]]:
    """A web server on this machine with these files."""
    with serving(Web) as served:
        yield served


def test_files_of_a_web_server_are_read_and_told_apart_by_their_tags(web: tuple[str, type[Web]]) -> None:
    """It has no folders to list: a listing, one shard, one Parquet file."""
    address, handler = web
    for place in ("list.csv", "shards/0.tar", "parquet/0.parquet"):
        listing = list_images(Split(location=f"{address}/{place}"))
        assert set(read_images(listing)) == set(IMAGES.values())
        assert listing["version"].null_count == 0
    shard = list_images(Split(location=f"{address}/shards/0.tar"))
    handler.ranges.clear()
    read_images(shard)
    assert len(handler.ranges) == 1, "neighbours in a shard by one request"
    handler.files["shards/0.tar"] = handler.files["shards/0.tar"][:-512] + bytes(512 - 1) + b"\1"
    assert all(isinstance(one, ChangedFileError) for one in read_images(shard))
    (missing,) = read_images(shard.slice(0, 1).set_column(2, "path", pa.array([f"{address}/none.tar"])))
    assert isinstance(missing, OSError)


def test_schemes_that_nothing_knows_or_that_need_a_package_say_so() -> None:
    with pytest.raises(StorageError, match=r"cannot use nosuch://x: Protocol not known: nosuch\. Allowed: .*hf://"):
        resolve("nosuch://x")
    with pytest.raises(StorageError, match=r"cannot use az://c/x: .*adlfs"):
        resolve("az://c/x")


def test_places_are_written_read_and_sent_to_workers(tmp_path: Path) -> None:
    write_bytes("memory://some/file", b"content")
    assert read_bytes("memory://some/file") == b"content"
    filesystem, path = resolve("memory://some/file")
    received = pickle.loads(pickle.dumps(filesystem))
    with received.open_input_stream(path) as stream:
        assert stream.read() == b"content"
