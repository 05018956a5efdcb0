"""Feature tables in chunks: all rows once, other passes' rows found by image_id; parts of the rows by id alone."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from project import EXPERIMENTS

from lib.errors import TableError
from lib.experiment.loading import load_experiment
from lib.experiment.settings import FitSettings
from lib.experiment.variants import PARTS, SHARES, MapKey, Variant, assign_parts, part_edges, subsets, variants
from lib.features import chunks
from lib.features.chunks import read_chunk, split_into_chunks
from lib.features.schemas import feature_schema
from lib.features.tables import FeatureTables
from lib.storage.columns import column_vectors, vector_column
from lib.storage.files import write_json
from lib.storage.parquet import write_table

N = 30
FEATURES = {
    name: np.random.default_rng(k).normal(size=(N, d)).astype("f4")
    for k, (name, d) in enumerate([("a", 3), ("b", 5), ("c", 2)])
}


def write_pass(features: Path, networks: list[str], order: np.ndarray, files: int) -> None:
    folder = features / "+".join(networks)
    schema = feature_schema({name: FEATURES[name].shape[1] for name in networks}, "float32")
    for number, rows in enumerate(np.array_split(order, files)):
        columns = {name: vector_column(FEATURES[name][rows]) for name in networks}
        ids = {"image_id": [f"i{row:02d}" for row in rows], "label": pa.array(rows % 4, pa.int32())}
        write_table(str(folder / f"p{number}.parquet"), pa.table({**ids, **columns}, schema=schema))
    write_json(str(folder / "manifest.json"), {"rows": len(order)})


@pytest.mark.parametrize("files", [1, 2, 7])
def test_rows_of_several_passes_are_matched_by_id(tmp_path: Path, files: int) -> None:
    write_pass(tmp_path, ["a", "b"], np.arange(N), 7)
    write_pass(tmp_path, ["c"], np.random.default_rng(9).permutation(N), 4)
    work = split_into_chunks(
        FeatureTables.open(str(tmp_path)), ["c", "a"], files * 8
    )  # of its files two have 8 rows, two have 7
    seen = []
    for chunk in work:
        rows = read_chunk(chunk)
        numbers = [int(image_id[1:]) for image_id in rows["image_id"].to_pylist()]
        for name in ("a", "c"):
            np.testing.assert_array_equal(column_vectors(rows, name), FEATURES[name][numbers])
        seen += numbers
    assert sorted(seen) == list(range(N))
    assert len(work) == -(-4 // files), "chunks of the first network's pass"


def name_as_parts(folder: Path, size: int) -> None:
    """Give the files the names of parts of numbered rows."""
    for number, path in enumerate(sorted(folder.glob("*.parquet"))):
        path.rename(folder / f"{folder.name}@{size}-{number:08d}.parquet")


def test_equal_parts_are_matched_by_their_names_without_reading_all_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pass(tmp_path, ["a"], np.arange(N), 6)
    mixed = np.concatenate(
        [np.random.default_rng(k).permutation(rows) for k, rows in enumerate(np.split(np.arange(N), 6))]
    )
    write_pass(tmp_path, ["b"], mixed, 6)
    for name in ("a", "b"):
        name_as_parts(tmp_path / name, 5)
    asked = list[str]()
    read = chunks.read_part
    monkeypatch.setattr(chunks, "read_part", lambda folder, *rest: asked.append(folder) or read(folder, *rest))
    work = split_into_chunks(FeatureTables.open(str(tmp_path)), ["a", "b"], 10)
    assert len(asked) == 4, "the first and the last part of each table"
    assert [len(source.files) for chunk in work for source in chunk.sources] == [2] * 6
    for chunk in work:
        rows = read_chunk(chunk)
        numbers = [int(image_id[1:]) for image_id in rows["image_id"].to_pylist()]
        for name in ("a", "b"):
            np.testing.assert_array_equal(column_vectors(rows, name), FEATURES[name][numbers])


def test_parts_of_another_order_are_matched_by_id(tmp_path: Path) -> None:
    write_pass(tmp_path, ["a"], np.arange(N), 6)
    write_pass(tmp_path, ["b"], np.arange(N)[::-1], 6)
    for name in ("a", "b"):
        name_as_parts(tmp_path / name, 5)
    for chunk in split_into_chunks(FeatureTables.open(str(tmp_path)), ["a", "b"], 10):
        rows = read_chunk(chunk)
        numbers = [int(image_id[1:]) for image_id in rows["image_id"].to_pylist()]
        np.testing.assert_array_equal(column_vectors(rows, "b"), FEATURES["b"][numbers])


def test_passes_of_other_images_are_refused(tmp_path: Path) -> None:
    write_pass(tmp_path, ["a"], np.arange(N), 2)
    write_pass(tmp_path, ["b"], np.arange(N - 1), 2)
    with pytest.raises(TableError, match="are not those of"):
        split_into_chunks(FeatureTables.open(str(tmp_path)), ["a", "b"])


def test_parts_have_their_shares_and_depend_on_the_id_alone() -> None:
    ids = [f"n{k:07d}.JPEG" for k in range(40_000)]
    part = assign_parts(ids)
    np.testing.assert_allclose(np.bincount(part) / len(ids), PARTS, atol=0.01)
    np.testing.assert_array_equal(assign_parts(ids[::-1]), part[::-1])


@pytest.mark.parametrize("rows", [19, 20, 33, 100, 600, 10_000])
def test_no_part_of_few_rows_is_empty(rows: int) -> None:
    ids = [f"val/{k}.jpg" for k in range(rows)]
    edges = part_edges(ids)
    counts = np.bincount(assign_parts(ids, edges), minlength=len(PARTS))
    assert counts.min() >= 1
    if rows >= 100:
        np.testing.assert_allclose(counts, rows * np.array(PARTS), atol=1)
    np.testing.assert_array_equal(assign_parts(ids[::-1], edges), assign_parts(ids, edges)[::-1])
    with pytest.raises(ValueError, match="each of 19 parts, got 18"):
        part_edges(ids[:18])
    for share in SHARES:
        assert sum(PARTS[: Variant("least_squares", share=share).parts]) == share


def test_subsets_are_other_draws_of_whole_sixteenths() -> None:
    found = subsets(FitSettings(subsets=10))
    assert len({subset.name for subset in found}) == len(found) == 4 * 9
    for subset in found:
        parts = subset.parts(seed=3)
        assert sum(PARTS[part] for part in parts) == subset.share
        assert list(parts) == sorted(set(parts))
    for share in SHARES[:-1]:
        of_share = [subset.parts(3) for subset in found if subset.share == share]
        assert len(set(of_share)) == len(of_share), "each draw is another"
        assert tuple(range(Variant("least_squares", share=share).parts)) not in of_share
    halves = [tuple(range(11)), *(subset.parts(3) for subset in found if subset.share == 1 / 2)]
    for one, other in zip(halves[::2], halves[1::2], strict=True):
        assert sorted(one + other) == list(range(len(PARTS))), "a pair of halves holds all rows"
    assert subsets(FitSettings(learning_curve=False)) == subsets(FitSettings(families=["affine"])) == []


def test_variants_of_a_pair_have_names_of_their_own() -> None:
    pair = ("lite0", "lite2")

    def names_of(*overrides: str) -> list[str]:
        found = variants(load_experiment("lite", list(overrides), EXPERIMENTS), *pair, 512)
        return [MapKey("a", "b", variant).name for variant in found]

    names = names_of("fit.seeds=3", "fit.ranks=[64, 8, 1000]")
    assert len(set(names)) == len(names)
    assert names[0] == "a-to-b"
    joined = "a-to-b.classifiers"
    assert {joined, "a-to-b.affine.seed2", "a-to-b.least_squares.rank8", "a-to-b.least_squares.1of16rows"} < set(names)
    bare = names_of("fit.seeds=3", "fit.ranks=[64, 8, 1000]", "networks.lite0.classifier=none")
    assert bare == [name for name in names if name != joined], "without a classifier nothing is made from both"
    assert not any("rank1000" in name for name in names), "no larger rank than there is"
    only = names_of('fit.families=["least_squares", "affine"]', "fit.ranks=[]", "fit.learning_curve=false")
    assert only == ["a-to-b.least_squares", "a-to-b"]
