"""Listings of every format: right labels, right bytes, and errors that name the location."""

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.errors import ListingError
from lib.experiment.settings import Split
from lib.images.fetching import read_images
from lib.images.labels import read_classes
from lib.images.listing import list_images


def split(location: Path, **more: str) -> Split:
    return Split.model_validate({"location": str(location), **more})


def tree(root: Path) -> Path:
    for path in ("n2/b.JPEG", "n2/a.jpg", "n1/c.png", "n2/notes.txt", "n1/.hidden.jpg"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root


def test_tree_labels_are_places_among_sorted_folders_or_all_classes(tmp_path: Path) -> None:
    found = list_images(split(tree(tmp_path)))
    assert found["image_id"].to_pylist() == ["n1/c.png", "n2/a.jpg", "n2/b.JPEG"]
    assert found["label"].to_pylist() == [0, 1, 1]
    assert read_images(found) == [b"n1/c.png", b"n2/a.jpg", b"n2/b.JPEG"]
    assert list_images(split(tmp_path), ["n0", "n1", "n2"])["label"].to_pylist() == [1, 2, 2]
    assert len(list_images(split(tmp_path), limit=2)) == 2
    with pytest.raises(ListingError, match="'n2' is not among the 1"):
        list_images(split(tmp_path), ["n1"])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_listing_paths_are_relative_to_it_or_to_a_base(tmp_path: Path, kind: str) -> None:
    tree(tmp_path / "images")
    rows = pa.table({"path": ["n2/a.jpg", "n1/c.png"], "label": ["7", None]})
    file = tmp_path / "images" / f"list.{kind}"
    if kind == "csv":
        file.write_text("path,label\nn2/a.jpg,7\nn1/c.png,\n")
    else:
        pq.write_table(rows, file)
    found = list_images(split(file))
    assert found["label"].to_pylist() == [7, None]
    assert read_images(found) == [b"n2/a.jpg", b"n1/c.png"]
    moved = tmp_path / f"elsewhere.{kind}"
    moved.write_bytes(file.read_bytes())
    assert read_images(list_images(split(moved, base=str(tmp_path / "images")))) == [b"n2/a.jpg", b"n1/c.png"]


def test_listing_errors_are_clear(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    for text, words in [
        ("file,label\na,1\n", "path and label"),
        ("path,label\na.jpg,1\na.jpg,2\n", "more than once.*a.jpg"),
        ("path,label\na.jpg,cat\n", "label 'cat'"),
        ("path,label\na.jpg,-1\n", "count from 0"),
        ("path,label\n", "no images"),
        ("path,label\na.jpg\n", "list.csv can't be read: .*Expected 2 columns, got 1"),
        ("", "list.csv can't be read: Empty CSV file"),
    ]:
        file.write_text(text)
        with pytest.raises(ListingError, match=words):
            list_images(split(file))
    with pytest.raises(ListingError, match="is not there"):
        list_images(split(tmp_path / "nowhere"))
    (tmp_path / "half.parquet").write_bytes(b"PAR1")
    with pytest.raises(ListingError, match=r"half\.parquet can't be read: "):
        list_images(split(tmp_path / "half.parquet"))


def shard(path: Path, members: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_shards_come_out_right_whatever_the_order_of_their_members(tmp_path: Path) -> None:
    """Members of different samples mixed up: Ray's own reader gives wrong pairs here (ray#63374)."""
    shard(tmp_path / "0.tar", [("a.jpg", b"A"), ("b.jpg", b"B"), ("b.cls", b"2"), ("a.cls", b"1"), ("a.json", b"{}")])
    shard(tmp_path / "1.tar", [("x/c.cls", b"3"), ("x/c.PNG", b"CC")])
    found = list_images(split(tmp_path))
    pairs = zip(found["image_id"].to_pylist(), found["label"].to_pylist(), read_images(found), strict=True)
    assert list(pairs) == [("a", 1, b"A"), ("b", 2, b"B"), ("x/c", 3, b"CC")]


def test_bad_shards_are_refused(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", [("a.jpg", b"A"), ("a.cls", b"1")])
    shard(tmp_path / "1.tar", [("a.jpg", b"A"), ("a.cls", b"1")])
    with pytest.raises(ListingError, match=r"'a' stands in .*0\.tar and in .*1\.tar"):
        list_images(split(tmp_path))
    shard(tmp_path / "1.tar", [("b.cls", b"1")])
    with pytest.raises(ListingError, match="'b' has no"):
        list_images(split(tmp_path))
    (tmp_path / "1.tar").write_bytes(b"no tar file" * 100)
    with pytest.raises(ListingError, match=r"1\.tar can't be read"):
        list_images(split(tmp_path))


@pytest.mark.parametrize("struct", [True, False])
def test_parquet_with_the_images_bytes(tmp_path: Path, struct: bool) -> None:
    data = [f"image {k}".encode() for k in range(25)]
    image = pa.array(data)
    if struct:
        image = pa.StructArray.from_arrays([image, pa.array([f"p{k}.jpg" for k in range(25)])], ["bytes", "path"])
    table = pa.table({"other": pa.array([b"x"] * 25), "image": image, "label": pa.array(range(25), pa.int64())})
    pq.write_table(table.slice(0, 15), tmp_path / "a.parquet", row_group_size=4)
    pq.write_table(table.slice(15), tmp_path / "b.parquet", row_group_size=4)
    found = list_images(split(tmp_path))
    assert found["label"].to_pylist() == list(range(25))
    assert read_images(found) == data
    assert found["image_id"][16].as_py() == ("p16.jpg" if struct else "b.parquet:1")


def test_class_names_are_sorted_and_unique(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("n2\nn1\n\n")
    assert read_classes(str(file)) == ["n1", "n2"]
    file.write_text("n2\nn2\n")
    with pytest.raises(ListingError, match="n2"):
        read_classes(str(file))


def test_a_missing_file_becomes_an_error_of_its_row(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("path,label\nnot-there.jpg,1\n")
    (found,) = read_images(list_images(split(file)))
    assert isinstance(found, Exception)
    assert "not-there.jpg" in str(found)
