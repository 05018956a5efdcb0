"""results.json's numbers: the paper's Table 1 comes out of prediction tables built to have its counts."""

import numpy as np
import pyarrow as pa
import pytest

from lib import results, tables

N = 50_000
INC, RES = "inception", "resnet"
SIZES = {INC: 1536, RES: 2048}


def predictions(right: np.ndarray, mapped: bool, ids: np.ndarray | None = None) -> pa.Table:
    """A prediction table that is right exactly where `right` (n,) says so, its rows shuffled."""
    n = len(right)
    label = np.arange(n) % 1000
    columns = {
        "image_id": pa.array([f"val/{k:06d}" for k in (np.arange(n) if ids is None else ids)]),
        "label": pa.array(label, pa.int32()),
        "predicted": pa.array(np.where(right, label, (label + 1) % 1000), pa.int32()),
    }
    if mapped:
        columns |= {"error": pa.array(np.full(n, 0.25, np.float32)), "length_ratio": pa.array(np.ones(n, np.float32))}
    table = pa.table(columns, schema=tables.MAPPED_PREDICTIONS if mapped else tables.PREDICTIONS)
    return table.take(np.random.default_rng(n).permutation(n))


def first(count: int) -> np.ndarray:
    return np.arange(N) < count


def paper() -> dict[results.Composition, pa.Table]:
    """Right sets with the paper's counts: 2,296 of R's right ones broken, 2,960 of its wrong ones fixed."""
    mapped_to_r = (np.arange(N) >= 2296) & (np.arange(N) < 39022 + 2960)
    return {
        (INC, INC): predictions(first(40037), False),
        (RES, RES): predictions(first(39022), False),
        (INC, RES): predictions(mapped_to_r, True),
        (RES, INC): predictions(first(37866), True),
    }


ERRORS = {(INC, RES): 0.1, (RES, INC): 0.2}


def test_table_1_of_the_paper() -> None:
    found = results.evaluate(paper(), SIZES, ERRORS)
    assert found["networks"][INC] == {"feature_size": 1536, "correct": 40037, "total": N, "accuracy": 0.80074}
    assert found["networks"][RES]["correct"] == 39022
    to_r, to_i = found["mappings"]
    assert (to_r["source"], to_r["target"], to_r["correct"], to_i["correct"]) == (INC, RES, 39686, 37866)
    assert to_r["loss"] == pytest.approx(-1.328, abs=1e-9)
    assert to_i["loss"] == pytest.approx(4.342, abs=1e-9)
    assert (to_r["fixed"], to_r["broken"]) == (2960, 2296)
    assert to_r["validation_error"] == 0.25
    assert to_r["fit_error"] == 0.1


def test_identities_hold() -> None:
    found = results.evaluate(paper(), SIZES, ERRORS)
    for mapping in found["mappings"]:
        own, source = (found["networks"][mapping[side]]["correct"] for side in ("target", "source"))
        regions = mapping["regions"]
        assert sum(regions.values()) == N
        assert mapping["fixed"] - mapping["broken"] == mapping["correct"] - own
        assert sum(count for key, count in regions.items() if "target" in key) == own
        assert sum(count for key, count in regions.items() if "source" in key) == source
        assert sum(count for key, count in regions.items() if "mapped" in key) == mapping["correct"]
        assert mapping["loss_ci95"][0] < mapping["loss"] < mapping["loss_ci95"][1]


def small(n: int, ids: np.ndarray | None = None) -> pa.Table:
    return predictions(np.ones(n, bool), False, ids)


def test_ids_missing_on_either_side_are_an_error() -> None:
    with pytest.raises(tables.TableError, match=r"1 only in the first, 1 only in the second.*000003.*000009"):
        results.join({("a", "a"): small(4), ("b", "b"): small(4, np.array([0, 1, 2, 9]))})


def test_an_id_that_stands_twice_is_an_error() -> None:
    with pytest.raises(tables.TableError, match="twice"):
        results.join({("a", "a"): small(3, np.array([0, 1, 1]))})


def test_images_without_a_label_are_not_counted() -> None:
    table = small(10)
    labels = pa.array([None if image.endswith("0") else 1 for image in table["image_id"].to_pylist()], pa.int32())
    unlabelled = table.set_column(1, "label", labels)
    found = results.evaluate({("a", "a"): unlabelled}, {"a": 3}, {})
    assert found["networks"]["a"]["total"] == 9
