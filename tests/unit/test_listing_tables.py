"""Tables of listed images: slices of listings, rows by their numbers, images dealt by their ids, files that changed."""

import os
import pickle
import tarfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.errors import ListingError
from lib.experiment.layout import manifest_in
from lib.experiment.settings import Split
from lib.images import csv_listings, fetching, shards, tables
from lib.images.batches import DecodeImages
from lib.images.fetching import ChangedFileError, neighbours, read_images
from lib.images.geometry import Geometry
from lib.images.listing import doubles, find_sources, list_images, list_source
from lib.images.mixing import dealt, permutation
from lib.images.places import known_among, place_numbers
from lib.images.sources import Listed, images_table
from lib.images.summaries import Summary, summarise, together
from lib.images.tables import ListingTable, write_parts
from lib.storage.files import write_json


def invented(rows: int) -> pa.Table:
    """Images of which none is there."""
    names = [f"n{k % 7}/{k:06d}.jpg" for k in range(rows)]
    return images_table(rows, image_id=names, label=[k % 7 for k in range(rows)], path=[f"/none/{n}" for n in names])


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_slices_of_a_csv_file_hold_each_line_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, end: str
) -> None:
    lines = [f"a/{'x' * (k % 5)}{k}.jpg,{k % 3}" for k in range(40)]
    (tmp_path / "list.csv").write_bytes(((end or "\n").join(["path,label", *lines]) + end).encode())
    split = Split(location=str(tmp_path / "list.csv"))
    expected = list_images(split)
    monkeypatch.setattr(csv_listings, "SLICE_BYTES", size)
    found = find_sources(split)
    assert len(found.sources) > 1 or size == 1000
    sliced = pa.concat_tables(list_source(found, source).images for source in found.sources)
    assert sliced.equals(expected)
    (tmp_path / "list.csv").write_text("path,label\n" + "a.jpg,1\n" * 30 + "b.jpg,cat\n")
    with pytest.raises(ListingError, match=r"list\.csv: row 31: label 'cat'"):
        list_images(split)


def test_slices_of_a_parquet_listing_are_its_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"path": [f"{k}.jpg" for k in range(40)], "label": [*range(39), -5], "more": ["x"] * 40})
    pq.write_table(table, tmp_path / "list.parquet", row_group_size=8)
    monkeypatch.setattr(csv_listings, "SLICE_ROWS", 10)
    found = find_sources(Split(location=str(tmp_path / "list.parquet")))
    assert [(source.first, source.end, source.row) for source in found.sources] == [(0, 2, 0), (2, 4, 16), (4, 5, 32)]
    assert list_source(found, found.sources[1]).images["label"].to_pylist() == list(range(16, 32))
    with pytest.raises(ListingError, match="label -5; labels count from 0"):
        list_source(found, found.sources[2])


def table_of(folder: Path, images: pa.Table) -> ListingTable:
    """A finished table of these images."""
    rows = write_parts(str(folder), 0, images)
    write_json(manifest_in(str(folder)), {"rows": len(images), "part_rows": rows, "images": "x"})
    return ListingTable.load(str(folder))


def test_rows_are_read_by_their_numbers_from_as_many_parts_as_hold_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "PART", 50)
    monkeypatch.setattr(tables, "GROUP", 20)
    images = invented(180)
    table = table_of(tmp_path, images)
    assert table.starts.tolist() == [0, 50, 100, 150, 180]
    for first, end in [(0, 1), (0, 180), (19, 21), (49, 51), (30, 170), (179, 180), (60, 60)]:
        assert table.read(first, end).equals(images.slice(first, end - first))
    assert table.read(45, 55, ["label"])["label"].to_pylist() == [k % 7 for k in range(45, 55)]


def test_images_are_dealt_by_their_ids_and_each_bucket_is_a_sample_of_all_classes() -> None:
    images = invented(7000)
    hands = dealt(images, 4)
    assert sum(map(len, hands)) == 7000
    assert all(1500 < len(hand) < 2000 for hand in hands)
    assert all(set(hand["label"].to_pylist()) == set(range(7)) for hand in hands)
    twice = pa.concat_tables([images, images.slice(10, 1)])
    assert [doubles(hand)[0] for hand in dealt(twice, 4)].count(1) == 1
    assert sorted(permutation(10, 1, 4)) == list(range(10))
    assert not np.array_equal(permutation(10, 1, 4), permutation(10, 2, 4))


def test_summaries_tell_images_apart_and_add_up() -> None:
    images = invented(100)
    whole = summarise(Listed(images))
    assert (whole.rows, whole.labelled, whole.largest) == (100, 100, 6)
    assert Summary.from_json(whole.as_json()) == whole
    halves = together([summarise(Listed(images.slice(0, 50))), summarise(Listed(images.slice(50)))])
    assert (halves.rows, halves.labelled, halves.largest) == (100, 100, 6)
    empty = summarise(Listed(images.slice(0, 0)))
    assert together([empty, whole]).images == together([whole]).images
    other = images.set_column(1, "label", pa.array([*range(7)] * 14 + [0, None], pa.int32()))
    assert summarise(Listed(other)).images != whole.images
    assert summarise(Listed(other)).files == whole.files


def test_places_of_two_splits_are_compared_as_numbers() -> None:
    images = invented(1000)
    known = np.sort(place_numbers(images.slice(0, 10)))
    assert known_among(place_numbers(images), known).tolist() == [True] * 10 + [False] * 990
    assert not known_among(place_numbers(images), known[:0]).any()


def shard(path: Path, samples: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in samples.items():
            (path.parent / "member").write_bytes(data)
            tar.add(path.parent / "member", name)
    (path.parent / "member").unlink()


def test_a_shard_that_was_written_anew_gives_no_image(tmp_path: Path) -> None:
    """Reordered after it was listed, with equal names and size."""
    samples = {f"{k}.jpg": os.urandom(3000) for k in range(20)}
    shard(tmp_path / "0.tar", samples)
    listing = list_images(Split(location=str(tmp_path)))
    assert read_images(listing) == list(samples.values())
    shard(tmp_path / "0.tar", dict(sorted(samples.items(), reverse=True)))
    assert listing["size"][0].as_py() == (tmp_path / "0.tar").stat().st_size
    found = read_images(listing)
    assert all(isinstance(one, ChangedFileError) for one in found)
    assert "0.tar is another file than when it was listed" in str(found[0])
    reasons = DecodeImages([Geometry((3, 8, 8), 1.0, "center", "bilinear")], 10**6)(listing)["reason"].to_pylist()
    assert {reason.partition(":")[0] for reason in reasons} == {"changed"}


@pytest.mark.parametrize("kind", ["file", "parquet"])
def test_files_that_changed_give_no_image(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "n0").mkdir()
        file = tmp_path / "n0" / "a.jpg"
        file.write_bytes(b"one")
    else:
        file = tmp_path / "0.parquet"
        pq.write_table(pa.table({"image": [b"one"]}), file)
    listing = list_images(Split(location=str(tmp_path)))
    assert read_images(listing) == [b"one"]
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    (changed,) = read_images(listing)
    assert isinstance(changed, ChangedFileError)


def test_neighbours_in_a_shard_come_by_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = {f"{k:03d}.jpg": os.urandom(3000) for k in range(64)}
    shard(tmp_path / "0.tar", samples)
    listing = list_images(Split(location=str(tmp_path)))
    reads: list[int] = []
    opened = fetching.open_versioned

    class Counting:
        """A file that writes down how much is read of it."""

        def __init__(self, file: Any) -> None:
            self.file = file

        def read_at(self, length: int, start: int) -> bytes:
            """Read a range."""
            reads.append(length)
            return bytes(self.file.read_at(length, start))

    @contextmanager
    def counting(uri: str) -> Any:
        with opened(uri) as (file, now):
            yield Counting(file), now

    monkeypatch.setattr(fetching, "open_versioned", counting)
    shuffled = listing.take(np.random.default_rng(0).permutation(64))
    expected = dict(zip(listing["image_id"].to_pylist(), samples.values(), strict=True))
    assert read_images(shuffled) == [expected[name] for name in shuffled["image_id"].to_pylist()]
    assert len(reads) == 1
    assert reads[0] < (tmp_path / "0.tar").stat().st_size


def test_far_images_of_a_shard_are_read_apart() -> None:
    far = [(0, 10, 0), (20, 10, 1), (30 + fetching.HOLE + 1, 10, 2), (50 + fetching.HOLE, fetching.AT_ONCE, 3)]
    assert [[place for _, _, place in group] for group in neighbours(far)] == [[0, 1], [2], [3]]


def test_a_second_experiment_may_name_the_listing_of_the_first(tmp_path: Path) -> None:
    images = invented(30)
    known = {"rows": 30, "part_rows": write_parts(str(tmp_path), 0, images), "images": "x", "classes": ["a", "b"]}
    write_json(manifest_in(str(tmp_path)), known)
    found = find_sources(Split(location=str(tmp_path)))
    assert (found.kind, found.classes, found.keeps_order) == ("table", ("a", "b"), True)
    assert list_images(Split(location=str(tmp_path))).equals(images)


def test_a_shard_with_an_index_beside_it_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {
        f"{k}.{suffix}": (b"cat" if suffix == "cls" else os.urandom(900)) for k in range(9) for suffix in ("jpg", "cls")
    }
    shard(tmp_path / "0.tar", members)
    read = list_images(Split(location=str(tmp_path)), ["ant", "cat"])
    assert list_images(Split(location=str(tmp_path), write_indexes=True), ["ant", "cat"]).equals(read)

    def refused(**given: object) -> None:
        raise AssertionError("the shard is read")

    monkeypatch.setattr(shards.tarfile, "open", refused)
    assert list_images(Split(location=str(tmp_path)), ["ant", "cat"]).equals(read)
    assert list_images(Split(location=str(tmp_path)), ["cat"])["label"].to_pylist() == [0] * 9, "labels are texts there"
    status = (tmp_path / "0.tar").stat()
    os.utime(tmp_path / "0.tar", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(AssertionError, match="the shard is read"):
        list_images(Split(location=str(tmp_path)), ["ant", "cat"])


@pytest.mark.parametrize("labelled", [False, True])
def test_an_index_of_wids_is_taken_unless_labels_are_missing_and_runs_nothing(tmp_path: Path, labelled: bool) -> None:
    names = [f"{k}.{suffix}" for k in range(5) for suffix in (("jpg", "cls") if labelled else ("jpg",))]
    shard(tmp_path / "0.tar", {name: b"1" if name.endswith("cls") else os.urandom(700) for name in names})
    read = list_images(Split(location=str(tmp_path)))
    with tarfile.open(tmp_path / "0.tar") as tar:
        found = [(member.name, member.offset_data, member.size) for member in tar]
    index = ([f"x{name}" for name, _, _ in found], np.array([place for _, *place in found]))
    (tmp_path / "0.tar.index").write_bytes(pickle.dumps(index))
    expected = [f"{'' if labelled else 'x'}{name}" for name in read["image_id"].to_pylist()]
    taken = list_images(Split(location=str(tmp_path)))
    assert taken["image_id"].to_pylist() == expected
    assert read_images(taken) == read_images(read)
    (tmp_path / "0.tar.index").write_bytes(pickle.dumps((os.getcwd, [])))
    with pytest.raises(ListingError, match=r"0\.tar\.index is no index as wids writes it: it asks for posix\.getcwd"):
        list_images(Split(location=str(tmp_path)))
