"""Feature tables and manifests: what was written comes back, by image_id, and other settings are refused."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.errors import ManifestMismatch, StorageError, TableError
from lib.experiment.layout import pass_name
from lib.features.chunks import read_chunk, split_into_chunks
from lib.features.reading import read_features
from lib.features.tables import FeatureTables
from lib.storage.columns import column_vectors, vector_column, with_nulls
from lib.storage.files import delete, write_json
from lib.storage.manifests import Artifact
from lib.storage.parquet import parquet_files, read_schema, write_table
from lib.storage.parts import Part, find_damage, read_footer
from lib.storage.uris import join_uri, resolve


def write_pass(folder: str, columns: dict[str, np.ndarray], ids: list[str], parts: int = 1) -> None:
    """A finished feature table, in `parts` files."""
    vectors = {name: vector_column(values) for name, values in columns.items()}
    table = pa.table({"image_id": ids, "label": pa.array(range(len(ids)), pa.int32()), **vectors})
    for part in range(parts):
        rows = range(part, len(table), parts)
        write_table(join_uri(folder, f"part-{part}.parquet"), table.take(list(rows)))
    made_from = {"networks": {name: {} for name in columns}, "images": "x"}
    Artifact(join_uri(folder, "manifest.json"), (folder,), made_from).finish(len(table))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_features_of_two_passes_are_matched_by_image_id(tmp_path: Path, dtype: str) -> None:
    a = np.arange(20).reshape(10, 2).astype(dtype)
    b = np.arange(30).reshape(10, 3).astype(dtype)
    ids = [f"i{k}" for k in range(10)]
    shuffled = np.random.default_rng(0).permutation(10)
    write_pass(str(tmp_path / "a"), {"a": a}, ids, parts=3)
    write_pass(str(tmp_path / "b"), {"b": b[shuffled]}, [ids[k] for k in shuffled], parts=2)
    found = read_features(FeatureTables.open(str(tmp_path)), ["a", "b"])
    assert list(found.image_id) == ids
    assert found.vectors["a"].dtype == np.float32
    np.testing.assert_array_equal(found.vectors["a"], a.astype(np.float32))
    np.testing.assert_array_equal(found.vectors["b"], b.astype(np.float32))


def test_an_id_missing_on_either_side_is_an_error(tmp_path: Path) -> None:
    write_pass(str(tmp_path / "a"), {"a": np.ones((2, 2), np.float32)}, ["x", "y"])
    write_pass(str(tmp_path / "b"), {"b": np.ones((2, 2), np.float32)}, ["x", "z"])
    with pytest.raises(TableError, match="image_ids"):
        read_features(FeatureTables.open(str(tmp_path)), ["a", "b"])


def test_an_unfinished_table_is_not_read(tmp_path: Path) -> None:
    write_pass(str(tmp_path / "a"), {"a": np.ones((2, 2), np.float32)}, ["x", "y"])
    delete(str(tmp_path / "a" / "manifest.json"))
    with pytest.raises(TableError, match=r"jobs\.extract"):
        read_features(FeatureTables.open(str(tmp_path)), ["a"])


def test_columns_are_plain_arrow_types(tmp_path: Path) -> None:
    write_pass(str(tmp_path / "a"), {"a": np.ones((2, 4), np.float16)}, ["x", "y"])
    numbers = pa.list_(pa.field("element", pa.float16(), nullable=False), 4)
    assert read_schema(str(tmp_path / "a")).field("a") == pa.field("a", numbers, nullable=False)


def test_files_of_an_earlier_version_stand_beside_those_without_nulls(tmp_path: Path) -> None:
    """Theirs said of each number that it might be missing."""
    vectors, folder = np.arange(8, dtype=np.float32).reshape(4, 2), tmp_path / "a"
    write_pass(str(folder), {"a": vectors}, ["w", "x", "y", "z"], parts=2)
    old = with_nulls(pq.read_table(folder / "part-1.parquet"))
    assert old.schema.field("a") == pa.field("a", pa.list_(pa.float32(), 2))
    pq.write_table(old, folder / "part-1.parquet")
    tables = FeatureTables.open(str(tmp_path))
    np.testing.assert_array_equal(read_features(tables, ["a"]).vectors["a"], vectors)
    (chunk,) = split_into_chunks(tables, ["a"], 4)
    rows = read_chunk(chunk).sort_by("image_id")
    np.testing.assert_array_equal(column_vectors(rows, "a"), vectors)


def test_vectors_of_which_one_is_null_are_written_as_they_are(tmp_path: Path) -> None:
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    some = pa.table({"a": vector_column(vectors, np.array([False, True, False])), "b": vector_column(vectors)})
    write_table(str(tmp_path / "some.parquet"), some)
    found = pq.read_table(tmp_path / "some.parquet")
    assert [found.schema.field(name).nullable for name in ("a", "b")] == [True, False]
    assert found.to_pydict() == some.to_pydict()


def product(folder: Path, **made_from: object) -> Artifact:
    return Artifact(str(folder / "manifest.json"), (str(folder),), made_from)


def test_a_product_is_begun_finished_and_then_skipped(tmp_path: Path) -> None:
    assert product(tmp_path, seed=1).begin()
    assert product(tmp_path, seed=1).begin(), "unfinished: goes on"
    product(tmp_path, seed=1).finish(3)
    assert not product(tmp_path, seed=1).begin()


@pytest.mark.parametrize("finish", [True, False])
def test_other_settings_are_refused_unless_told_to_overwrite(tmp_path: Path, finish: bool) -> None:
    folder = tmp_path / "table"
    product(folder, fit={"seed": 1}).begin()
    (folder / "part.parquet").write_bytes(b"old")
    if finish:
        product(folder, fit={"seed": 1}).finish(3)
    with pytest.raises(ManifestMismatch, match=r"fit\.seed was 1, now 2.*--overwrite"):
        product(folder, fit={"seed": 2}).begin()
    assert product(folder, fit={"seed": 2}).begin(overwrite=True)
    assert not (folder / "part.parquet").exists()


@pytest.mark.parametrize("left", [b"", b'{"made_from": {"see', b"[]", b'{"rows": 3}'])
@pytest.mark.parametrize("finish", [False, True])
def test_a_record_that_a_loss_of_power_damaged_counts_as_none(
    tmp_path: Path, finish: bool, left: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    product = Artifact(str(tmp_path / "manifest.json"), (str(tmp_path / "data"),), {"seed": 1})
    assert product.begin()
    (tmp_path / "data").write_bytes(b"x")
    if finish:
        product.finish(1)
    (tmp_path / ("manifest.json" if finish else "started.json")).write_bytes(left)
    assert product.begin(), "it is made anew"
    assert "json is damaged" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
    product.finish(1)
    assert not product.begin()


def test_a_table_with_a_damaged_manifest_is_not_finished(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "manifest.json").write_bytes(b"")
    assert FeatureTables.open(str(tmp_path)).tables == {}


def test_file_uris_may_have_spaces(tmp_path: Path) -> None:
    for folder in ("with a space", "with%20a%20code"):
        write_json(f"file://{tmp_path}/{folder}/x.json", {"a": 1})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["with a code", "with a space"]
    assert json.loads((tmp_path / "with a space" / "x.json").read_text()) == {"a": 1}


def test_files_of_a_killed_writer_are_found(tmp_path: Path) -> None:
    write_pass(str(tmp_path), {"a": np.ones((2, 2), np.float32)}, ["x", "y"])
    (tmp_path / "half.parquet").write_bytes((tmp_path / "part-0.parquet").read_bytes()[:-20])
    (tmp_path / "none.parquet").write_bytes(b"")
    found = find_damage(str(tmp_path), [Part(path) for path in parquet_files(str(tmp_path))[1]])
    assert [Path(part.path).name for part in found] == ["half.parquet", "none.parquet"]


def test_an_unusable_location_is_named() -> None:
    with pytest.raises(StorageError, match="ftp://host/x"):
        resolve("ftp://host/x")


def test_networks_of_one_pass_are_read_together_in_the_order_of_the_ids(tmp_path: Path) -> None:
    ids = [f"i{k:02d}" for k in np.random.default_rng(1).permutation(40)]
    columns = {name: np.random.default_rng(k).random((40, 3), np.float32) for k, name in enumerate("ab")}
    write_pass(str(tmp_path / "a+b"), columns, ids, parts=7)
    found = read_features(FeatureTables.open(str(tmp_path)), ["b", "a"])
    assert list(found.vectors) == ["b", "a"]
    assert list(found.image_id) == sorted(ids)
    for image_id, label, a, b in zip(
        found.image_id, found.label.to_pylist(), found.vectors["a"], found.vectors["b"], strict=True
    ):
        assert label == ids.index(image_id)
        np.testing.assert_array_equal(a, columns["a"][label])
        np.testing.assert_array_equal(b, columns["b"][label])


def test_ids_that_stand_twice_are_an_error(tmp_path: Path) -> None:
    write_pass(str(tmp_path / "a"), {"a": np.ones((3, 2), np.float32)}, ["x", "y", "x"])
    with pytest.raises(TableError, match="twice"):
        read_features(FeatureTables.open(str(tmp_path)), ["a"])


def test_no_column_and_no_footer_is_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pass(str(tmp_path / "a+b"), {"a": np.ones((9, 2)), "b": np.ones((9, 3))}, [f"i{k}" for k in range(9)], 3)
    read: list[str] = []
    footers: list[str] = []
    group, batches = pq.ParquetFile.read_row_group, pq.ParquetFile.iter_batches

    def counted(file: pq.ParquetFile, number: int, columns: list[str], **more: object) -> pa.Table:
        read.extend(columns)
        return group(file, number, columns=columns, **more)

    def counted_batches(file: pq.ParquetFile, size: int, row_groups: list[int], columns: list[str], **more: object):
        read.extend(columns)
        return batches(file, size, row_groups, columns=columns, **more)

    def counted_footer(folder: str, part: Part) -> pq.FileMetaData:
        footers.append(part.path)
        return read_footer(folder, part)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted_batches)
    monkeypatch.setattr("lib.features.reading.read_footer", counted_footer)
    read_features(FeatureTables.open(str(tmp_path)), ["a", "b"])
    assert sorted(read) == sorted(["a", "b", "image_id", "label"] * 3)
    assert len(footers) == len(set(footers)) == 3


def test_parts_of_many_rows_come_back_in_order(tmp_path: Path) -> None:
    a = np.random.default_rng(0).random((999, 5), np.float32)
    write_pass(str(tmp_path / "a"), {"a": a}, [f"i{k:04d}" for k in range(999)], parts=2)
    np.testing.assert_array_equal(read_features(FeatureTables.open(str(tmp_path)), ["a"]).vectors["a"], a)


def test_json_has_null_where_a_number_is_not_finite(tmp_path: Path) -> None:
    """JSON has no NaN, and most readers refuse a file with one."""
    file = tmp_path / "results.json"
    write_json(str(file), {"a": [float("nan"), 1.5], "b": {"c": float("-inf")}, "d": (1, True, None)})
    assert json.loads(file.read_text()) == {"a": [None, 1.5], "b": {"c": None}, "d": [1, True, None]}


def test_the_name_of_a_table_of_many_networks_fits_into_a_file_system() -> None:
    networks = tuple(f"tf_efficientnetv2_{k:03}.in21k_ft_in1k" for k in range(100))
    assert pass_name(("lite0", "lite2")) == "lite0+lite2"
    assert len(pass_name(networks)) < 200
    assert pass_name(networks) != pass_name((*networks[:-1], "other"))
    assert pass_name(networks).startswith("tf_efficientnetv2_000.in21k_ft_in1k+99more-")
