"""Listings of every format: right labels, right bytes, and errors that name the location."""

import gzip
import io
import os
import pickle
import tarfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.errors import ListingError, StorageError
from lib.experiment.settings import Images, Split
from lib.images.fetching import read_images
from lib.images.labels import parse_label, read_classes
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


def named(file: Path, **settings: str) -> Images:
    return Images.model_validate({"train": "t", "val": "v", "classes": str(file), **settings})


def test_a_class_files_order_is_kept_or_asked_about(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("n1\nn2\n\n")
    assert read_classes(named(file)) == ["n1", "n2"]
    file.write_text("n2\nn1\n\n")
    with pytest.raises(ListingError, match=r"'n1' comes after 'n2'.*images\.class_order = \"file\""):
        read_classes(named(file))
    assert read_classes(named(file, class_order="file")) == ["n2", "n1"]
    assert read_classes(named(file, class_order="sorted")) == ["n1", "n2"]
    file.write_text("n2\nn2\n")
    with pytest.raises(ListingError, match="n2"):
        read_classes(named(file))


def test_a_class_file_is_utf8_with_or_without_its_mark(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes("é1\né2\n".encode("utf-8-sig"))
    assert read_classes(named(file)) == ["é1", "é2"]
    for encoding in ("utf-16", "latin-1"):
        file.write_bytes("é1\né2\n".encode(encoding))
        with pytest.raises(ListingError, match=r"names\.txt: expected class names in UTF-8"):
            read_classes(named(file))


def test_class_folders_that_are_numbers_count_by_value(tmp_path: Path) -> None:
    """ImageNet-V2's layout: as text, "10" comes before "2"."""
    for k in range(12):
        (tmp_path / str(k)).mkdir()
        (tmp_path / str(k) / "a.jpg").write_bytes(b"x")
    found = list_images(split(tmp_path))
    assert found["label"].to_pylist() == [int(image_id.partition("/")[0]) for image_id in found["image_id"].to_pylist()]
    (tmp_path / "3" / "a.jpg").unlink()
    (tmp_path / "3").rmdir()
    with pytest.raises(ListingError, match=r"they are not 0 to 10: the largest is 11\. Give images\.classes"):
        list_images(split(tmp_path))
    (tmp_path / "cat").mkdir()
    with pytest.raises(ListingError, match=r"some class folders are numbers, such as '0', and others are not.*'cat'"):
        list_images(split(tmp_path))


def test_folders_that_archives_leave_are_no_classes(tmp_path: Path) -> None:
    tree(tmp_path)
    for folder in ("__MACOSX", "lost+found"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "._a.jpg").write_bytes(b"x")
        (tmp_path / folder / "a.jpg").write_bytes(b"x")
    found = list_images(split(tmp_path))
    assert found["image_id"].to_pylist() == ["n1/c.png", "n2/a.jpg", "n2/b.JPEG"]
    assert found["label"].to_pylist() == [0, 1, 1]


def test_images_in_no_class_folder_are_refused_with_what_helps(tmp_path: Path) -> None:
    for k in range(4):
        (tmp_path / f"{k}.jpg").write_bytes(b"x")
    with pytest.raises(ListingError, match=r"4 images lie directly in it, in no class folder.*\.csv"):
        list_images(split(tmp_path))


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("3", 3),
        ("+3", 3),
        (Decimal(3), 3),
        (" 3 ", 3),
        ("3.0", 3),
        (3.0, 3),
        (3, 3),
        ("", None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_labels_are_whole_numbers(label: str | float | None, value: int | None) -> None:
    assert parse_label("list.csv: row 1", label, {}) == value


@pytest.mark.parametrize("label", ["1_0", "9" * 5000, "0.13", 0.13, "three", "inf", "٣", True, "1e2"])
def test_other_labels_are_refused_by_row(label: str | float) -> None:
    with pytest.raises(ListingError, match=r"^list\.csv: row 1: label .* is no whole number"):
        parse_label("list.csv: row 1", label, {})


def test_labels_that_tables_cannot_hold_are_refused() -> None:
    with pytest.raises(ListingError, match="beyond 2147483647"):
        parse_label("x", 2**31, {})


def test_a_shard_that_was_cut_short_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    """Python's tarfile ends quietly at a header that is cut or damaged."""
    file = tmp_path / "0.tar"
    shard(file, [(f"{k}.{suffix}", b"1") for k in range(4) for suffix in ("jpg", "cls")])
    whole = file.read_bytes()
    assert len(list_images(split(tmp_path))) == 4
    for cut in (4 * 1024, 4 * 1024 + 100, 4 * 1024 + 512, 8 * 1024, 8 * 1024 + 512):
        file.write_bytes(whole[:cut])
        with pytest.raises(ListingError, match=r"0\.tar"):
            list_images(split(tmp_path))
    file.write_bytes(whole[: 3 * 1024] + bytes(1024) + whole[4 * 1024 :])
    with pytest.raises(ListingError, match=r"0\.tar: at byte 3072"):
        list_images(split(tmp_path))
    file.write_bytes(whole[: 3 * 1024] + b"x" * 512 + whole[3 * 1024 + 512 :])
    with pytest.raises(ListingError, match=r"0\.tar: at byte 3072"):
        list_images(split(tmp_path))
    file.write_bytes(whole[: 3 * 1024] + bytes(2**21) + whole[3 * 1024 :])
    with pytest.raises(ListingError, match=r"0\.tar: at byte 3072"):
        list_images(split(tmp_path))
    file.write_bytes(whole + whole.replace(b"1.jpg", b"9.jpg"))
    with pytest.raises(ListingError, match="concatenated"):
        list_images(split(tmp_path))
    file.write_bytes(gzip.compress(whole))
    with pytest.raises(ListingError, match=r"0\.tar is compressed by gzip.*unpack"):
        list_images(split(tmp_path))


def test_images_in_hidden_folders_do_not_count(tmp_path: Path) -> None:
    tree(tmp_path)
    for folder in ("n1/.thumbnails", "n2/__MACOSX"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jpg").write_bytes(b"x")
    (tmp_path / "montage.png").write_bytes(b"x")
    assert list_images(split(tmp_path))["image_id"].to_pylist() == ["n1/c.png", "n2/a.jpg", "n2/b.JPEG"]


@pytest.mark.parametrize("column", ["label", "wnid"])
def test_class_names_are_text_in_whatever_column(tmp_path: Path, column: str) -> None:
    """Not numbers, though they look like some."""
    file = tmp_path / "list.csv"
    file.write_text(f"path,{column}\na.jpg,20\nb.jpg,010\n")
    assert list_images(split(file, label_column=column), ["010", "20"])["label"].to_pylist() == [1, 0]
    file.write_text("path,other\na.jpg,20\n")
    with pytest.raises(ListingError, match=f"no column '{column}', which label_column names"):
        list_images(split(file, label_column=column))


def test_links_in_shards_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        info = tarfile.TarInfo("a.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "b.jpg"
        tar.addfile(info)
    with pytest.raises(ListingError, match=r"0\.tar: member 'a\.jpg' is a link or no file"):
        list_images(split(tmp_path))


def test_shards_take_the_suffixes_and_the_class_names_that_others_take(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", [("a.webp", b"A"), ("a.cls", b"cat"), ("b.tiff", b"B"), ("b.cls", b"ant")])
    assert list_images(split(tmp_path), ["ant", "cat"])["label"].to_pylist() == [1, 0]
    shard(tmp_path / "0.tar", [("val.001.jpg", b"A"), ("val.001.cls", b"1")])
    with pytest.raises(ListingError, match=r"'val' has no .*key ends at the first dot"):
        list_images(split(tmp_path))


def test_equal_file_names_in_parquet_are_refused_with_the_setting_that_helps(tmp_path: Path) -> None:
    """Hugging Face's path is often the file's name alone, and two classes may have files of one name."""
    image = pa.StructArray.from_arrays([pa.array([b"a", b"b"]), pa.array(["0.jpg", "0.jpg"])], ["bytes", "path"])
    pq.write_table(pa.table({"image": image, "label": [0, 1], "name": ["cat", "dog"]}), tmp_path / "a.parquet")
    with pytest.raises(ListingError, match=r"1 image ids stand there more than once.*Set id_column.*#row"):
        list_images(split(tmp_path))
    assert list_images(split(tmp_path, id_column="name"))["image_id"].to_pylist() == ["cat", "dog"]
    numbered = list_images(split(tmp_path, id_column="#row"))
    assert numbered["image_id"].to_pylist() == ["a.parquet:0", "a.parquet:1"]
    assert read_images(numbered) == [b"a", b"b"]
    with pytest.raises(ListingError, match=r"a\.parquet: no column 'other'"):
        list_images(split(tmp_path, id_column="other"))


def test_numbers_as_image_ids_become_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image_id": [7, 0], "image": [b"a", b"b"], "label": [1, 0]}), tmp_path / "a.parquet")
    assert list_images(split(tmp_path))["image_id"].to_pylist() == ["7", "0"]


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [
        ("image", [[b"a", b"b"]], "list<.*: binary>"),
        ("image", ["aGVsbG8="], "string"),
        ("image", [{"path": "a"}], "struct"),
        ("label", [[1, 2]], "list<.*: int64>"),
    ],
)
def test_columns_of_other_types_are_refused_by_name(tmp_path: Path, column: str, values: list[Any], found: str) -> None:
    table = pa.table({"image": [b"a"], "label": [1]} | {column: values})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ListingError, match=rf"a\.parquet: column '{column}' is {found}.*expected"):
        list_images(split(tmp_path))


def test_a_missing_file_becomes_an_error_of_its_row(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("path,label\nnot-there.jpg,1\n")
    (found,) = read_images(list_images(split(file)))
    assert isinstance(found, Exception)
    assert "not-there.jpg" in str(found)


def parquet(file: Path, first: int, count: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    data = [f"image {k}".encode() for k in range(first, first + count)]
    pq.write_table(pa.table({"image_id": range(first, first + count), "image": data, "label": [0] * count}), file)


@pytest.mark.parametrize("layout", ["{}-00000-of-00001.parquet", "{}/0000.parquet", "data/{}_1.parquet"])
def test_a_folder_with_several_splits_is_refused_and_a_pattern_names_one(tmp_path: Path, layout: str) -> None:
    """marin#2381: each split had the images of both."""
    parquet(tmp_path / layout.format("train"), 0, 8)
    parquet(tmp_path / layout.format("validation"), 100, 4)
    with pytest.raises(ListingError, match=r"several splits: train \(1 files\), val \(1 files\).* such as ") as refused:
        list_images(split(tmp_path, format="parquet"))
    named = str(refused.value).rpartition("such as ")[2]
    assert list_images(split(Path(named)))["image_id"].to_pylist() == [str(k) for k in range(8)]
    found = list_images(split(Path(named.replace("train", "validation"))))
    assert found["image_id"].to_pylist() == ["100", "101", "102", "103"]
    assert read_images(found) == [b"image 100", b"image 101", b"image 102", b"image 103"]


def test_parquet_files_below_a_folder_without_any_are_named(tmp_path: Path) -> None:
    """A Hugging Face repository: its files lie in data/."""
    parquet(tmp_path / "data" / "train-0.parquet", 0, 1)
    (tmp_path / "README.md").write_text("x")
    with pytest.raises(ListingError, match=r"such as data/train-0\.parquet.*name their folder"):
        list_images(split(tmp_path))


def test_shards_of_several_splits_are_told_apart_by_a_pattern(tmp_path: Path) -> None:
    shard(tmp_path / "train-0.tar", [("a.jpg", b"A")])
    shard(tmp_path / "val-0.tar", [("b.jpg", b"B")])
    shard(tmp_path / "trainer-0.tar", [("c.jpg", b"C")])  # no split's name
    with pytest.raises(ListingError, match=r"several splits: train \(1 files\), val \(1 files\)"):
        list_images(split(tmp_path))
    assert list_images(split(tmp_path / "val-*.tar"))["image_id"].to_pylist() == ["b"]
    with pytest.raises(
        ListingError, match=r"expected a pattern of \.tar or \.parquet files, which names 0 other files"
    ):
        list_images(split(tmp_path / "test-*.tar"))


def test_links_of_a_tree_are_followed_noticed_or_refused(tmp_path: Path) -> None:
    images = tree(tmp_path / "images")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "d.jpg").write_bytes(b"D")
    (images / "n3").symlink_to(tmp_path / "elsewhere")
    (images / "n1" / "lost.jpg").symlink_to(tmp_path / "nothing.jpg")
    found = list_images(split(images))
    assert found["image_id"].to_pylist() == ["n1/c.png", "n1/lost.jpg", "n2/a.jpg", "n2/b.JPEG", "n3/d.jpg"]
    read = read_images(found)
    assert isinstance(read[1], Exception)  # rejected and counted
    assert read[4] == b"D"
    (images / "n1" / "up").symlink_to(images)
    with pytest.raises(StorageError, match=r"n1/up is a link to a folder above it.*remove it"):
        list_images(split(images))


@pytest.mark.parametrize("place", [b"n1/\xff.jpg", b"\xff/a.jpg", b"\xff.jpg"])
def test_names_that_are_not_utf8_are_named(tmp_path: Path, place: bytes) -> None:
    path = os.path.join(os.fsencode(tree(tmp_path)), place)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(os.fsdecode(path)).write_bytes(b"x")
    with pytest.raises(StorageError, match=r"\\xff.* is not UTF-8: rename it"):
        list_images(split(tmp_path))


def test_members_of_shards_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo(os.fsdecode(b"\xff.jpg")))
    with pytest.raises(ListingError, match=r"0\.tar: the member name b'\\xff\.jpg' is not UTF-8"):
        list_images(split(tmp_path))


def test_columns_may_have_dots_in_their_names(tmp_path: Path) -> None:
    table = pa.table({"a.id": ["x"], "a.image": [b"A"], "a.label": [1], "a": [{"id": "y", "image": b"B"}]})
    pq.write_table(table, tmp_path / "a.parquet")
    found = list_images(split(tmp_path, id_column="a.id", image_column="a.image", label_column="a.label"))
    assert (found["image_id"].to_pylist(), found["label"].to_pylist()) == (["x"], [1])
    assert read_images(found) == [b"A"]


def test_ids_of_a_type_that_is_no_text_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image_id": [[1]], "image": [b"a"]}), tmp_path / "a.parquet")
    with pytest.raises(ListingError, match=r"a\.parquet: column 'image_id' is list<.*expected text or numbers"):
        list_images(split(tmp_path))


def test_pickled_labels_are_refused(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", [("a.jpg", b"A"), ("a.cls", pickle.dumps(3))])
    with pytest.raises(ListingError, match=r"0\.tar: a\.cls is no text: expected a class name or a whole number"):
        list_images(split(tmp_path))
