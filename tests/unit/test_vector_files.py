"""Vectors by id from Parquet, .npy and .safetensors: the same ids and numbers from each; bad ones are refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from lib.errors import TableError
from lib.storage import vector_files as files

IDS = [f"n{k}/é{k}.JPEG" for k in range(7)]
F = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)


def write(folder: Path, kind: str) -> str:
    """The same vectors in a file of each kind."""
    path = folder / f"v.{kind.split('-')[0]}"
    if kind.startswith("parquet"):
        numbers = {"parquet-list": pa.list_(pa.float64()), "parquet-fixed": pa.list_(pa.float32(), 5)}[kind]
        table = pa.table({"id": IDS, "v": pa.array(F.tolist(), numbers), "other": range(7)})
        pq.write_table(table, path, row_group_size=3)
    elif kind == "npy":
        np.save(path, F)
    elif kind == "safetensors-matrix":
        safetensors.numpy.save_file({"v": F, "scale": np.ones(1, np.float32)}, path)
    else:
        safetensors.numpy.save_file(dict(zip(IDS, F, strict=True)), path)
    (folder / "v.txt").write_text("\n".join(IDS))
    return str(path)


@pytest.mark.parametrize("kind", ["parquet-list", "parquet-fixed", "npy", "safetensors-matrix", "safetensors-named"])
def test_all_kinds_of_file_give_the_same_vectors(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIECE_ROWS", 3)
    monkeypatch.setattr(files, "BLOCK", 20)
    path = write(tmp_path, kind)
    assert (
        files.vector_files(str(tmp_path))
        == files.vector_files(path)
        == files.vector_files(str(tmp_path / "v*"))
        == [path]
    )
    pieces = files.pieces_of(path, "id", None)
    assert [piece.rows for piece in pieces] == [3, 3, 1]
    table = pa.concat_tables(map(files.read_piece, pieces))
    assert table.schema == pa.schema([("image_id", pa.string()), ("vector", pa.list_(pa.float32(), 5))])
    assert dict(zip(table["image_id"].to_pylist(), map(tuple, table["vector"].to_pylist()), strict=True)) == {
        name: tuple(row) for name, row in zip(IDS, F.tolist(), strict=True)
    }
    assert files.vector_size(path, "id", None) == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": [None, *IDS[1:]]}, "1 rows have no id"),
        ({"v": [[1.0], *F.tolist()[1:]]}, "of different lengths"),
        ({"v": [None, *F.tolist()[1:]]}, "1 vectors are null"),
        ({"v": [[float("nan")] * 5, *F.tolist()[1:]]}, "1 vectors have NaN or infinity, such as that of n0/é0.JPEG"),
        ({"v": list(range(7))}, "no column None of lists of numbers"),
        ({"w": F.tolist()}, r"vector must name one of \['v', 'w'\]"),
        ({"id": None}, "no column 'id', which key names"),
    ],
)
def test_what_is_no_table_of_vectors_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    columns = {"id": IDS, "v": F.tolist(), **change}
    pq.write_table(
        pa.table({name: values for name, values in columns.items() if values is not None}), tmp_path / "v.parquet"
    )
    with pytest.raises(TableError, match=said):
        list(map(files.read_piece, files.pieces_of(str(tmp_path / "v.parquet"), "id", None)))


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_ids_are_the_lines_of_the_file_beside_a_matrix(
    tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "npy")
    (tmp_path / "v.txt").write_bytes(((end or "\n").join(IDS) + end).encode())
    for rows, block in ((1, 1), (2, 7), (7, 2**20), (3, 13)):
        monkeypatch.setattr(files, "PIECE_ROWS", rows)
        monkeypatch.setattr(files, "BLOCK", block)
        read = map(files.read_piece, files.pieces_of(path, "id", None))
        assert [name for piece in read for name in piece["image_id"].to_pylist()] == IDS


def test_ids_that_are_not_as_many_as_vectors_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "npy")
    (tmp_path / "v.txt").write_text("a\nb\n")
    with pytest.raises(TableError, match=r"v\.txt has 2 lines, but there are 7 vectors"):
        list(map(files.read_piece, files.pieces_of(path, "id", None)))
    np.save(tmp_path / "w.npy", F.T.astype(int))
    with pytest.raises(TableError, match="expected numbers"):
        files.pieces_of(str(tmp_path / "w.npy"), "id", None)
    with pytest.raises(TableError, match="no file there"):
        files.vector_files(str(tmp_path / "nothing"))
