"""The table of a split's images, made by tasks: in the order of today's lists, mixed by buckets, resumed, refused."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from runs import path_of, run_of

from jobs.listing import splits
from jobs.listing.shared import check_shared
from jobs.listing.splits import list_splits
from lib.errors import ExperimentError, ListingError, ManifestMismatch
from lib.experiment.settings import Split
from lib.images.listing import list_images
from lib.images.schemas import LISTING
from lib.images.tables import ListingTable
from lib.storage.parquet import read_rows


def test_a_listing_is_a_table_in_mixed_order_that_is_skipped_and_refused(
    experiment: Path, tmp_path: Path, local_ray: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(experiment, tmp_path)
    table = list_splits(run)["train"]
    listed = list_images(Split(location=str(experiment.parent / "train")))
    expected = listed.take(np.random.default_rng(0).permutation(96))
    assert table.read(0, 96).equals(expected)
    assert read_rows(path_of(run, "images", "train"), LISTING).equals(expected), "any reader of Parquet has it"
    assert (table.labelled, table.largest_label, len(table.classes or [])) == (96, 11, 12)
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == ["images"], "nothing unfinished is left"
    part = Path(path_of(run, "images", "train", "part-000000.parquet"))
    before = part.stat().st_mtime_ns
    capsys.readouterr()
    list_splits(run_of(experiment, tmp_path))
    assert "train: 96 images are listed, skipped" in capsys.readouterr().out
    assert part.stat().st_mtime_ns == before
    (tmp_path / "tiny" / "features" / "train" / "a+b").mkdir(parents=True)
    with pytest.raises(ManifestMismatch, match=r"images/train/manifest\.json was made from other settings.*rows was"):
        list_splits(run_of(experiment, tmp_path, "limit=40"))
    assert part.stat().st_mtime_ns == before
    assert list_splits(run_of(experiment, tmp_path, "limit=1000"))["train"].rows == 96, "the same images"
    assert part.stat().st_mtime_ns == before


def test_buckets_hold_each_image_once_and_a_sample_of_all_classes(
    experiment: Path, tmp_path: Path, local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "buckets_for", lambda rows: 3)
    table = list_splits(run_of(experiment, tmp_path))["train"]
    listed = list_images(Split(location=str(experiment.parent / "train")))
    assert len(table.starts) == 4
    assert table.read(0, 96).sort_by("image_id").equals(listed.sort_by("image_id"))
    for part in range(3):
        rows = table.read(int(table.starts[part]), int(table.starts[part + 1]))
        assert len(set(rows["label"].to_pylist())) > 6
    again = list_splits(run_of(experiment, tmp_path / "again"))["train"]
    assert again.read(0, 96).equals(table.read(0, 96)), "the same order in every run"


def shard(path: Path, keys: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for key in keys:
            for name, data in ((f"{key}.jpg", os.urandom(100)), (f"{key}.cls", b"3")):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("buckets", [1, 3])
def test_shards_keep_their_order_and_their_ids_are_compared(
    experiment: Path, tmp_path: Path, local_ray: None, monkeypatch: pytest.MonkeyPatch, buckets: int
) -> None:
    monkeypatch.setattr(splits, "buckets_for", lambda rows: buckets)
    for number in range(4):
        shard(tmp_path / "train" / f"{number}.tar", [f"{number}-{k}" for k in range(10)])
    one = f"images.train={tmp_path}/train"
    table = list_splits(run_of(experiment, tmp_path, one))["train"]
    assert table.read(0, 40)["image_id"].to_pylist() == [f"{number}-{k}" for number in range(4) for k in range(10)]
    assert table.read(8, 12)["label"].to_pylist() == [3] * 4
    shard(tmp_path / "train" / "3.tar", ["0-5"])
    (tmp_path / "tiny" / "features" / "train" / "a+b").mkdir(parents=True)
    with pytest.raises(ManifestMismatch, match="image_files was"):
        list_splits(run_of(experiment, tmp_path, one))
    with pytest.raises(ListingError, match=r"'0-5' stands in .*0\.tar and in .*3\.tar"):
        list_splits(run_of(experiment, tmp_path / "other", one))
    shard(tmp_path / "train" / "3.tar", ["3-5"])
    assert list_splits(run_of(experiment, tmp_path / "other", one))["train"].rows == 31, "mended, not refused"


def test_shards_that_an_interrupted_listing_has_read_are_not_read_again(
    experiment: Path, tmp_path: Path, local_ray: None
) -> None:
    for number in range(3):
        shard(tmp_path / "train" / f"{number}.tar", [f"{number}-{k}" for k in range(10)])
    status = (tmp_path / "train" / "2.tar").stat()
    whole = (tmp_path / "train" / "2.tar").read_bytes()
    one = f"images.train={tmp_path}/train"

    def restore(data: bytes) -> None:
        (tmp_path / "train" / "2.tar").write_bytes(data)
        os.utime(tmp_path / "train" / "2.tar", ns=(status.st_atime_ns, status.st_mtime_ns))

    restore(whole[:100] + bytes(len(whole) - 100))
    with pytest.raises(ListingError, match=r"2\.tar"):
        list_splits(run_of(experiment, tmp_path, one))
    units = sorted((tmp_path / "tiny" / "unfinished" / "train").glob("unit-*.json"))
    assert len(units) == 2
    before = [path.stat().st_mtime_ns for path in units]
    restore(whole)
    written: list[int] = []
    original = splits.limited

    def looked(*given: object) -> object:
        written.extend(path.stat().st_mtime_ns for path in units if path.exists())
        return original(*given)  # type: ignore[arg-type]

    splits.limited = looked  # type: ignore[assignment]
    try:
        assert list_splits(run_of(experiment, tmp_path, one))["train"].rows == 30
    finally:
        splits.limited = original
    assert written == before


def test_evaluation_images_that_are_training_images_are_counted_or_refused(
    experiment: Path, tmp_path: Path, local_ray: None
) -> None:
    """A .csv for each split, which name one file in two ways; and one Parquet file for both splits."""
    (tmp_path / "train.csv").write_text("path,label\na.jpg,0\nb.jpg,1\n")
    (tmp_path / "val.csv").write_text("path,label\n./sub/../b.jpg,1\nc.jpg,0\n")
    two = (f"images.train={tmp_path}/train.csv", f"images.val={tmp_path}/val.csv")
    tables = list_splits(run_of(experiment, tmp_path, *two))
    with pytest.raises(
        ExperimentError, match=r"1 of the 2 images of val are in train, too, such as .*b\.jpg.*max_shared"
    ):
        check_shared(tables["train"], tables["val"], 0.001)
    assert check_shared(tables["train"], tables["val"], 0.5) == 1
    with pytest.raises(ExperimentError, match=r"2 of the 2 images"):
        check_shared(tables["val"], tables["val"], 0.001)


def test_ids_that_stand_twice_and_labels_below_zero_are_refused(
    experiment: Path, tmp_path: Path, local_ray: None
) -> None:
    for text, words in (
        ("a.jpg,1\na.jpg,2\n", r"1 image ids stand there more than once.*a\.jpg"),
        ("a.jpg,-1\n", "-1"),
    ):
        (tmp_path / "list.csv").write_text(f"path,label\n{text}")
        with pytest.raises(ListingError, match=words):
            list_splits(run_of(experiment, tmp_path, f"images.train={tmp_path}/list.csv"))
    (tmp_path / "list.csv").write_text("path,label\na.jpg,1\nb.jpg,2\n")
    assert list_splits(run_of(experiment, tmp_path, f"images.train={tmp_path}/list.csv"))["train"].rows == 2
    assert ListingTable.open(str(tmp_path / "nowhere")) is None
