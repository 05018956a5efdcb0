"""Files on S3, against a real S3 API on this machine: whole objects, patience with a throttling store, all formats."""

import io
import json
import os
import pickle
import re
import sys
import tarfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from lib.errors import FolderInUse, StorageError
from lib.experiment.settings import Split
from lib.features.schemas import IMAGES
from lib.images.fetching import ChangedFileError, read_images
from lib.images.listing import list_images
from lib.networks.weight_files import cached
from lib.storage.files import (
    delete,
    delete_files,
    files_below,
    is_file,
    is_folder,
    read_bytes,
    read_json,
    write_bytes,
    write_json,
)
from lib.storage.leases import Holder, Lease, hold, read_holder
from lib.storage.parquet import parquet_files, read_rows, write_table
from lib.storage.parts import Part, find_damage
from lib.storage.probes import check_readable, check_writable
from lib.storage.s3 import open_s3, retry
from lib.storage.uris import resolve, uri_beside

pytest.importorskip("moto.server")
import store as stores
from store import DENIED, KEY, SECRET, Store

# Files -------------------------------------------------------------------------------------------------------------


def test_files_are_written_read_listed_and_deleted_by_their_literal_names(store: Store) -> None:
    """Blanks, percents and question marks are part of a key. No folder markers, and one request a small file."""
    names = ["a b/c%20d?e#ü.json", "a b/f.json", "g/h/i.json"]
    for name in names:
        write_json(f"s3://bucket/{name}", {"name": name})
    assert [(method, status) for method, _, status in store.log] == [("PUT", 200)] * 3
    assert store.keys() == sorted(names)
    assert [read_json(f"s3://bucket/{name}")["name"] for name in names] == names
    below = files_below("s3://bucket", ".json", recursive=True)
    assert [uri_beside("s3://bucket", path) for path in below] == [f"s3://bucket/{name}" for name in sorted(names)]
    assert files_below("s3://bucket/a b") == ["bucket/a b/c%20d?e#ü.json", "bucket/a b/f.json"]
    assert is_folder("s3://bucket/g/h")
    assert not is_file("s3://bucket/g/h")
    delete_files("s3://bucket/a b", "f.json".__eq__)
    delete("s3://bucket/g")
    delete("s3://bucket/none")
    assert [key for key in store.keys("") if not key.endswith("/")] == names[:1]


def test_an_interrupt_at_whatever_line_leaves_the_old_object_or_the_new_one(store: Store) -> None:
    """Closing a stream commits it: an interrupt between opening and writing must not leave an empty object."""

    def interrupted(line: int) -> bool:
        """Write, with Ctrl-C at the `line`-th line of lib/storage/files.py that is run; whether it came to that."""
        lines = iter(range(line + 1))

        def trace(frame: Any, event: str, argument: object) -> Any:
            if frame.f_code.co_filename != write_bytes.__code__.co_filename:
                return None
            if event == "line" and next(lines, -1) == line:
                raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            write_bytes("s3://bucket/x", b"new")
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(None)
        return False

    found = []
    while True:
        store.put("x", b"old")
        if not interrupted(len(found)):
            break
        found.append(store.get("x"))
    assert len(found) > 5
    assert set(found) == {b"old", b"new"}


def test_an_upload_that_fails_in_the_middle_leaves_the_old_object(store: Store) -> None:
    store.put("x", b"old")
    store.rule = lambda method, path: DENIED if "partNumber=2" in path else None
    with pytest.raises(StorageError, match=r"cannot write s3://bucket/x: .*ACCESS_DENIED"):
        write_bytes("s3://bucket/x", bytes(12 << 20))
    assert store.get("x") == b"old"


# Patience ----------------------------------------------------------------------------------------------------------


def test_everything_survives_a_store_that_refuses_each_request_at_first(store: Store) -> None:
    """Also reads that are smaller than the error's text, which pyarrow alone doesn't try again."""
    store.rule = stores.first(1)
    check_writable("s3://bucket/runs")
    write_bytes("s3://bucket/small", b"ok")
    write_bytes("s3://bucket/large", bytes(11 << 20))
    assert read_bytes("s3://bucket/small") == b"ok"
    assert read_bytes("s3://bucket/large") == bytes(11 << 20)
    table = pa.table({"image_id": ["a", "b"], "label": pa.array([1, 2], pa.int32())})
    write_table("s3://bucket/t/part.parquet", table)
    assert not find_damage("s3://bucket/t", [Part("bucket/t/part.parquet")])
    assert read_rows("s3://bucket/t", IMAGES).equals(table)
    check_readable("s3://bucket/t")
    delete("s3://bucket/t")
    assert {(method, status) for method, _, status in store.log} >= {("GET", 503), ("PUT", 500), ("POST", 503)}


def test_patience_does_not_run_out(store: Store) -> None:
    """The SDK's standard strategy would have a process retry a hundred times in its life."""
    store.put("x", b"content")
    store.rule = stores.every(2)
    for _ in range(130):
        assert is_file("s3://bucket/x")
    assert sum(status >= 500 for _, _, status in store.log) > 120


def test_a_file_system_keeps_its_patience_when_it_is_pickled(store: Store) -> None:
    """Ray Train sends it to its workers. pyarrow's own comes back with three attempts."""
    filesystem, path = resolve("s3://bucket/x")
    sent = pickle.dumps(filesystem)
    assert not re.search(f"{re.escape(SECRET)}|{KEY}".encode(), sent)
    received = pickle.loads(sent)
    assert received == filesystem
    store.put("x", b"content")
    store.rule = stores.first(3)
    with received.open_input_stream(path) as stream:
        assert stream.read() == b"content"
    received.create_dir("bucket/folder")
    assert store.keys() == ["x"]


def test_hidden_errors_are_tried_again_so_many_times_and_others_are_not() -> None:
    waits: list[float] = []
    hidden = OSError("AWS Error INTERNAL_FAILURE during GetObject operation: Failed to flush response stream")
    answers: list[Exception | bytes] = [hidden, hidden, b"x", hidden, OSError("denied"), *[hidden] * 3]

    def work() -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, bytes):
            return answer
        raise answer

    assert retry(work, 3, waits.append) == b"x"
    assert len(waits) == 2
    with pytest.raises(OSError, match="denied"):
        retry(work, 3, waits.append)
    with pytest.raises(OSError, match="INTERNAL_FAILURE"):
        retry(work, 3, waits.append)
    assert not answers


def test_a_buckets_region_is_asked_for_once_unless_the_environment_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    asked = []
    monkeypatch.setattr(pafs, "resolve_s3_region", lambda bucket: asked.append(bucket) or "eu-central-1")
    for _ in range(2):
        assert open_s3("s3://europe/x")[0].handler.s3.region == "eu-central-1"
    assert asked == ["europe"]
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    assert open_s3("s3://asia/x")[0].handler.s3.region == "ap-south-1"
    assert asked == ["europe"]


# Reading -----------------------------------------------------------------------------------------------------------


def test_images_are_read_from_a_tree_a_listing_shards_and_parquet(store: Store, tmp_path: Path) -> None:
    images = {f"n{k % 2}/{k}.jpg": os.urandom(2000) for k in range(6)}
    for name, data in images.items():
        store.put(f"tree/{name}", data)
    store.put("list.csv", ("path,label\n" + "".join(f"tree/{name},0\n" for name in images)).encode())
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for name, data in images.items():
            (tmp_path / "image").write_bytes(data)
            tar.add(tmp_path / "image", name)
    store.put("shards/0.tar", (tmp_path / "0.tar").read_bytes())
    pq.write_table(pa.table({"image": list(images.values()), "label": range(6)}), tmp_path / "0.parquet")
    store.put("parquet/0.parquet", (tmp_path / "0.parquet").read_bytes())
    for location in ("tree", "list.csv", "shards", "parquet"):
        listing = list_images(Split(location=f"s3://bucket/{location}"))
        assert set(read_images(listing)) == set(images.values()), location


@pytest.mark.parametrize(("shards", "pictures"), [(3, 200), pytest.param(20, 500, marks=pytest.mark.slow)])
def test_shards_are_read_as_shards(store: Store, tmp_path: Path, shards: int, pictures: int) -> None:
    """By few requests, and once for the listing and once for the images; equal to a folder of the same pictures."""
    size = 0
    random = np.random.default_rng(0)
    for number in range(shards):
        with tarfile.open(tmp_path / "0.tar", "w") as tar:
            for k in range(pictures):
                name = f"{number:02d}{k:05d}"
                data = random.bytes(int(random.integers(2_000, 8_000)))
                (tmp_path / "tree" / str(k % 10)).mkdir(parents=True, exist_ok=True)
                (tmp_path / "tree" / str(k % 10) / f"{name}.jpg").write_bytes(data)
                for member, content in ((f"{name}.jpg", data), (f"{name}.cls", str(k % 10).encode())):
                    info = tarfile.TarInfo(member)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        data = (tmp_path / "0.tar").read_bytes()
        size += len(data)
        store.put(f"shards/{number:02d}.tar", data)
    store.log.clear()
    store.sent = 0
    listing = list_images(Split(location="s3://bucket/shards"))
    requests = len(store.log)
    print(f"listing {size / 1e6:.1f} MB: {store.sent / size:.3f} of the bytes, {requests} requests")
    assert store.sent < 1.1 * size
    assert requests < 4 * shards + 10
    store.log.clear()
    store.sent = 0
    found: dict[str, bytes] = {}
    for start in range(0, len(listing), 64):  # as a task that decodes
        batch = listing.slice(start, 64)
        for name, label, data in zip(
            batch["image_id"].to_pylist(), batch["label"].to_pylist(), read_images(batch), strict=True
        ):
            assert isinstance(data, bytes)
            found[f"{label}/{name}.jpg"] = data
    print(f"reading: {store.sent / size:.3f} of the bytes, {len(store.log)} requests for {len(listing)} images")
    assert store.sent < 1.1 * size
    assert len(store.log) <= 2 * (len(listing) / 64 + shards)
    tree = list_images(Split(location=str(tmp_path / "tree")))
    assert found == dict(zip(tree["image_id"].to_pylist(), read_images(tree), strict=True))


def test_a_shard_that_changed_in_a_store_gives_no_image(store: Store, tmp_path: Path) -> None:
    """Of the same size, an hour later; by no request more than the images take."""
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        (tmp_path / "image").write_bytes(b"image")
        tar.add(tmp_path / "image", "a.jpg")
    store.put("shards/0.tar", (tmp_path / "0.tar").read_bytes())
    listing = list_images(Split(location="s3://bucket/shards"))
    store.log.clear()
    assert read_images(listing) == [b"image"]
    assert len(store.log) == 2
    earlier = str(int(listing["version"][0].as_py()) - 3600)
    listed = listing.set_column(listing.schema.get_field_index("version"), "version", pa.array([earlier]))
    (changed,) = read_images(listed)
    assert isinstance(changed, ChangedFileError)


def test_a_public_bucket_is_read_without_credentials(store: Store) -> None:
    store.put("tree/n0/a.jpg", b"private")
    store.put("tree/n0/b.jpg", b"public", ACL="public-read")
    store.client.put_bucket_acl(Bucket="bucket", ACL="public-read")
    try:
        private, public = read_images(list_images(Split(location="s3://anonymous@bucket/tree")))
    finally:
        store.client.put_bucket_acl(Bucket="bucket", ACL="private")
    assert "ACCESS_DENIED" in str(private)
    assert public == b"public"


def test_weights_are_fetched_again_when_they_change(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for content in (b"one", b"one", b"three"):
        store.put("w.pth", content)
        path = cached("s3://bucket/w.pth")
        assert path.suffix == ".pth"
        assert path.read_bytes() == content
    with pytest.raises(StorageError, match=r"no file s3://bucket/none\.pth"):
        cached("s3://bucket/none.pth")


def test_a_part_that_cannot_be_read_now_is_not_taken_for_broken(store: Store) -> None:
    table = pa.table({"image_id": ["a"], "label": pa.array([1], pa.int32())})
    write_table("s3://bucket/t/whole.parquet", table)
    store.put("t/cut.parquet", store.get("t/whole.parquet")[:-9])
    store.rule = lambda method, path: DENIED if "whole" in path else None
    parts = [Part(path) for path in parquet_files("s3://bucket/t")[1]]
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        find_damage("s3://bucket/t", parts)
    store.rule = stores.passed
    assert [part.path for part in find_damage("s3://bucket/t", parts)] == ["bucket/t/cut.parquet"]


# Leases ------------------------------------------------------------------------------------------------------------


def test_one_run_at_a_time_has_a_lease_in_a_store(store: Store) -> None:
    """A store has no locks: of two that write at once, the last one keeps the lease, and the first one is refused."""
    first, second = (Lease("s3://bucket/runs/x", Holder.this(name)) for name in ("first", "second"))
    first.take(print)
    with pytest.raises(FolderInUse, match="`first`, process"):
        second.take(print)
    assert first.renew() is None
    first.give_back()
    assert not is_file("s3://bucket/runs/x/lease.json")

    def meanwhile(seconds: float) -> None:
        """The second one wrote just after the first."""
        write_bytes("s3://bucket/runs/x/lease.json", json.dumps(asdict(second.holder)).encode())

    with pytest.raises(FolderInUse, match="`second`, process"):
        first.take(print, sleep=meanwhile)
    taken = first.renew()
    assert taken is not None
    assert taken.command == "second"
    first.give_back()
    assert is_file("s3://bucket/runs/x/lease.json"), "it is the second one's"
    second.give_back()


def test_a_lease_survives_a_store_that_does_not_answer_for_a_while(store: Store) -> None:
    told: list[str] = []
    with hold("s3://bucket/runs/x", "mine", told.append, beat=0.05):
        store.rule = lambda method, path: DENIED if "lease" in path else None
        time.sleep(0.5)
        store.rule = stores.passed
        before = read_holder("s3://bucket/runs/x/lease.json")
        while read_holder("s3://bucket/runs/x/lease.json") == before:
            time.sleep(0.05)
    assert not told
    assert not is_file("s3://bucket/runs/x/lease.json")
