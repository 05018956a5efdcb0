"""results.json's numbers: the paper's Table 1 comes out of prediction tables built to have its counts."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lib.errors import TableError
from lib.evaluation.cka import CrossSums
from lib.evaluation.examples import pick_examples
from lib.evaluation.joining import join_and_judge, join_predictions
from lib.evaluation.judging import Mapped, evaluate_maps
from lib.evaluation.predictions import MAPPED_PREDICTIONS, PREDICTIONS
from lib.experiment.variants import MapKey, Variant

N = 50_000
INC, RES = "inception", "resnet"
NETWORKS = {INC: {"feature_size": 1536, "classes": 1000}, RES: {"feature_size": 2048, "classes": 1000}}
AFFINE = Variant("affine")
MAPS = [
    Mapped(MapKey(INC, RES, AFFINE), 0.1, None),
    Mapped(MapKey(RES, INC, AFFINE), 0.2, None),
]
SUMS = CrossSums.of({INC: np.eye(4), RES: np.eye(4)})  # R^2 = 1 - E / (1 - 1/4)


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
    table = pa.table(columns, schema=MAPPED_PREDICTIONS if mapped else PREDICTIONS)
    return table.take(np.random.default_rng(n).permutation(n))


def first(count: int) -> np.ndarray:
    return np.arange(N) < count


def paper() -> dict[str, pa.Table]:
    """Right sets with the paper's counts: 2,296 of R's right ones broken, 2,960 of its wrong ones fixed."""
    mapped_to_r = (np.arange(N) >= 2296) & (np.arange(N) < 39022 + 2960)
    return {
        f"{INC}-to-{INC}": predictions(first(40037), False),
        f"{RES}-to-{RES}": predictions(first(39022), False),
        f"{INC}-to-{RES}": predictions(mapped_to_r, True),
        f"{RES}-to-{INC}": predictions(first(37866), True),
    }


def evaluated() -> dict[str, Any]:
    return evaluate_maps(join_and_judge(paper()), NETWORKS, MAPS, SUMS, None)


def test_table_1_of_the_paper() -> None:
    found = evaluated()
    counts = {"feature_size": 1536, "classes": 1000, "correct": 40037, "total": N, "accuracy": 0.80074}
    assert found["networks"][INC] == counts | {"gives": pytest.approx(-1.328), "takes": pytest.approx(4.342)}
    assert found["networks"][RES]["correct"] == 39022
    to_r, to_i = found["mappings"]
    assert (to_r["source"], to_r["target"], to_r["correct"], to_i["correct"]) == (INC, RES, 39686, 37866)
    assert to_r["loss"] == pytest.approx(-1.328, abs=1e-9)
    assert to_i["loss"] == pytest.approx(4.342, abs=1e-9)
    assert (to_r["fixed"], to_r["broken"]) == (2960, 2296)
    assert to_r["validation_error"] == 0.25
    assert to_r["fit_error"] == 0.1


def test_identities_hold() -> None:
    found = evaluated()
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
    with pytest.raises(TableError, match=r"1 only in the first, 1 only in the second.*000003.*000009"):
        join_predictions({"a-to-a": small(4), "b-to-b": small(4, np.array([0, 1, 2, 9]))})


def test_an_id_that_stands_twice_is_an_error() -> None:
    with pytest.raises(TableError, match="twice"):
        join_predictions({"a-to-a": small(3, np.array([0, 1, 1]))})


def test_images_without_a_label_are_not_counted() -> None:
    table = small(10)
    labels = pa.array([None if image.endswith("0") else 1 for image in table["image_id"].to_pylist()], pa.int32())
    unlabelled = table.set_column(1, "label", labels)
    assert len(join_and_judge({"a-to-a": unlabelled}).label) == 9


def test_what_stands_beside_the_loss() -> None:
    to_r, to_i = evaluated()["mappings"]
    assert to_r["cosine"] == pytest.approx(1 - 0.25 / 2)
    assert to_r["r2"] == pytest.approx(1 - 0.25 / 0.75)
    # 2,960 against 2,296 heads of a fair coin: (2960 - 2628) / sqrt(5256 / 4) = 9.2 standard deviations
    assert 0 < to_r["p_value"] < 1e-18
    assert to_i["p_value"] < to_r["p_value"] == to_r["p_holm"], "the larger of two is corrected by 1"
    # Wrong answers are all "the next class", so both agree wherever both are wrong, and disagree elsewhere
    assert to_r["agreement"] == to_r["consistency"] == pytest.approx(1 - (2960 + 2296) / N)
    p, q = 39022 / N, 39686 / N
    assert to_r["consistency_by_chance"] == pytest.approx(p * q + (1 - p) * (1 - q))
    assert sum(row["own"] for row in to_r["classes"]) == 39022
    assert sum(row["mapped"] for row in to_r["classes"]) == 39686
    assert len(to_r["classes"]) == 1000


def test_other_maps_have_places_of_their_own() -> None:
    """Seeds beside the main one, other families, ranks and shares of the rows: each in its list, none in two."""
    others = [
        Variant("affine", seed=1),
        Variant("least_squares"),
        Variant("least_squares", rank=4),
        Variant("least_squares", share=1 / 4),
        Variant("classifiers"),
    ]
    tables_ = paper()
    maps = list(MAPS)
    for variant in others:
        name = f"{INC}-to-{RES}.{variant.name}"
        tables_[name] = predictions(first(30000), True)
        maps.append(Mapped(MapKey(INC, RES, variant), None, 320 if variant.share < 1 else 1280))
    found = evaluate_maps(join_and_judge(tables_), NETWORKS, maps, SUMS, [f"class {k}" for k in range(1000)])
    assert [(row["source"], row["family"]) for row in found["mappings"]] == [(INC, "affine"), (RES, "affine")]
    assert [row["family"] for row in found["families"]] == ["least_squares", "classifiers"]
    assert [row["rank"] for row in found["ranks"]] == [4]
    assert [row["rows"] for row in found["learning_curve"]] == [320, 1280]
    seeds = found["mappings"][0]["seeds"]
    assert [(row["seed"], row["correct"]) for row in seeds] == [(0, 39686), (1, 30000)]
    losses = [-1.328, 100 * (39022 - 30000) / N]
    assert found["mappings"][0]["loss_sd"] == pytest.approx(abs(losses[0] - losses[1]) / 2**0.5)
    assert "seeds" not in found["mappings"][1]
    assert found["mappings"][0]["classes"][0]["name"].startswith("class ")


def test_examples_are_fixed_and_broken_images() -> None:
    judged = join_and_judge(paper())
    rows = pick_examples(judged, MAPS[0].key, 5, 0)
    assert [row["kind"] for row in rows] == ["fixed"] * 5 + ["broken"] * 5
    for row in rows:
        number = int(row["image_id"].removeprefix("val/"))
        assert (number < 2296) == (row["kind"] == "broken")
        assert (row["label"], row["own"] == row["label"], row["mapped"] == row["label"]) == (
            number % 1000, row["kind"] == "broken", row["kind"] == "fixed",
        )  # fmt: skip
