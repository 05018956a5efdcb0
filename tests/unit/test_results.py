"""results.json's numbers: the paper's Table 1 comes out of prediction tables built to have its counts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lib.errors import TableError
from lib.evaluation.cka import Directions
from lib.evaluation.classes import count_by_class
from lib.evaluation.examples import pick_examples
from lib.evaluation.joining import Judged, Reference, judge_pair
from lib.evaluation.judging import (
    Mapped,
    correct_mappings,
    correct_maps,
    counted,
    evaluate_map,
    main_mapping,
    network_results,
)
from lib.evaluation.prediction_tables import PREDICTIONS, mapped_schema
from lib.evaluation.result_tables import MAPS
from lib.evaluation.results_file import write_results
from lib.experiment.variants import Variant

N = 50_000
INC, RES = "inception", "resnet"
NETWORKS = {INC: {"feature_size": 1536, "classes": 1000}, RES: {"feature_size": 2048, "classes": 1000}}
AFFINE = Variant("affine")
DIRECTIONS = Directions(4, np.ones(4), 4)  # of the rows of a unit matrix: R^2 = 1 - E / (1 - 1/4)


def predictions(
    right: np.ndarray, columns: tuple[str, ...] = (), ids: np.ndarray | None = None, shuffle: int = 0
) -> pa.Table:
    """A prediction table that is right exactly where `right` (n,) says so, its rows shuffled.

    Without `columns` it is of a network's own features, else of maps that these columns name.
    """
    n = len(right)
    label = np.arange(n) % 1000
    images = [[f"val/{k:06d}" for k in (np.arange(n) if ids is None else ids)], label]
    answers = np.where(right, label, (label + 1) % 1000)
    of_a_map = [answers, np.full(n, 0.25, np.float32), np.ones(n, np.float32)]
    found = [*images, *(of_a_map * len(columns) if columns else [answers])]
    table = pa.table(found, schema=mapped_schema(columns) if columns else PREDICTIONS)
    return table.take(np.random.default_rng(shuffle).permutation(n))


def first(count: int) -> np.ndarray:
    return np.arange(N) < count


OWN = {INC: predictions(first(40037)), RES: predictions(first(39022), shuffle=1)}
# 2,296 of R's right ones are broken, 2,960 of its wrong ones fixed.
TO_R = predictions((np.arange(N) >= 2296) & (np.arange(N) < 39022 + 2960), ("affine",), shuffle=2)
TO_I = predictions(first(37866), ("affine",), shuffle=3)


def judged(source: str, target: str, *mapped: pa.Table) -> Judged:
    reference = Reference(f"{target}-to-{target}", OWN[target])
    return judge_pair(reference, (f"{source}-to-{source}", OWN[source]), [("mapped", table) for table in mapped])


def mapping(pair: tuple[str, str], table: pa.Table, fit_error: float) -> Any:
    found = judged(*pair, table)
    return main_mapping(found, AFFINE, [evaluate_map(pair, found, Mapped(AFFINE, fit_error, None), DIRECTIONS, 1.0)])


def evaluated() -> dict[str, Any]:
    mappings = [mapping((INC, RES), TO_R, 0.1), mapping((RES, INC), TO_I, 0.2)]
    correct_mappings(mappings)
    own = {name: counted(table["predicted"].to_numpy() == table["label"].to_numpy()) for name, table in OWN.items()}
    losses = {(row["source"], row["target"]): row["loss"] for row in mappings}
    networks, order = network_results(NETWORKS, own, losses)
    return {"networks": networks, "mappings": mappings, "order": order}


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
    return predictions(np.ones(n, bool), ids=ids)


def test_ids_missing_on_either_side_are_an_error() -> None:
    with pytest.raises(TableError, match=r"1 only in the first, 1 only in the second.*000003.*000009"):
        Reference("a-to-a", small(4)).join("b-to-b", small(4, np.array([0, 1, 2, 9])))


def test_an_id_that_stands_twice_is_an_error() -> None:
    with pytest.raises(TableError, match="twice"):
        Reference("a-to-a", small(3, np.array([0, 1, 1])))
    with pytest.raises(TableError, match="do not hold the same images"):
        Reference("a-to-a", small(3)).join("b-to-b", small(3, np.array([0, 1, 1])))


def test_another_label_is_an_error() -> None:
    other = small(4)
    changed = other.set_column(1, "label", pa.array([7, 7, 7, 7], pa.int32()))
    with pytest.raises(TableError, match="a-to-a and b-to-b have different labels"):
        Reference("a-to-a", small(4)).join("b-to-b", changed)


def test_images_without_a_label_are_not_counted() -> None:
    table = small(10)
    labels = pa.array([None if image.endswith("0") else 1 for image in table["image_id"].to_pylist()], pa.int32())
    unlabelled = table.set_column(1, "label", labels)
    assert len(judge_pair(Reference("a-to-a", unlabelled), ("b-to-b", unlabelled), []).label) == 9
    none = table.set_column(1, "label", pa.nulls(10, pa.int32()))
    with pytest.raises(TableError, match="no evaluation image has a label"):
        judge_pair(Reference("a-to-a", none), ("b-to-b", none), [])


def test_what_stands_beside_the_loss() -> None:
    to_r, to_i = evaluated()["mappings"]
    assert to_r["cosine"] == pytest.approx(1 - 0.25 / 2)
    assert to_r["undirected"] == 0
    assert to_r["skill"] == pytest.approx(1 - 0.25 / (2 - 2 * np.sqrt(4) / 4))
    assert to_r["outcome"] == to_i["outcome"] == "different"
    assert to_r["loss_ci95_all"][0] < to_r["loss_ci95"][0] < to_r["loss_ci90"][0] < to_r["loss"]
    assert to_r["r2"] == pytest.approx(1 - 0.25 / 0.75)
    # 2,960 against 2,296 heads of a fair coin: (2960 - 2628) / sqrt(5256 / 4) = 9.2 standard deviations
    assert 0 < to_r["p_value"] < 1e-18
    assert to_i["p_value"] < to_r["p_value"] == to_r["p_holm"], "the larger of two is corrected by 1"
    # Wrong answers are all "the next class", so both agree wherever both are wrong, and disagree elsewhere
    assert to_r["agreement"] == to_r["consistency"] == pytest.approx(1 - (2960 + 2296) / N)
    p, q = 39022 / N, 39686 / N
    assert to_r["consistency_by_chance"] == pytest.approx(p * q + (1 - p) * (1 - q))
    found = judged(INC, RES, TO_R)
    right = found.right(found.target), found.right(found.mapped["affine"])
    classes = count_by_class((INC, RES), found.label, *right, [f"class {k}" for k in range(1000)])
    assert sum(classes["own"].to_pylist()) == 39022
    assert sum(classes["mapped"].to_pylist()) == 39686
    assert len(classes) == 1000
    assert classes["name"][0].as_py().startswith("class ")


def test_vectors_of_zeros_are_counted_and_left_out_of_cosine_and_length() -> None:
    """Of four images the second's mapped vector is zero, the third's target, the fourth's both."""
    columns = [[f"i{k}" for k in range(4)], [0, 1, 2, 3], [0, 1, 2, 3]]
    table = pa.table([*columns, [0.5, 1.0, 1.0, 0.0], [2.0, 0.0, np.inf, np.nan]], schema=mapped_schema(["affine"]))
    own = pa.table(columns, schema=PREDICTIONS)
    found = judge_pair(Reference("b-to-b", own), ("a-to-a", own), [("a-to-b", table)])
    assert found.undirected == {"affine": 3}
    assert found.cosine == {"affine": 0.75}
    assert found.length_ratio == {"affine": 2.0}
    assert found.error == {"affine": 0.625}


def test_every_map_has_a_row() -> None:
    """Seeds beside the main one, other families, ranks and shares of the rows, from a table of full maps and one of
    curves."""
    others = [Variant("affine", seed=1), Variant("least_squares"), Variant("classifiers")]
    curves = [Variant("least_squares", rank=4), Variant("least_squares", share=1 / 4)]
    same_order = [predictions(first(30000), (variant.column,), shuffle=2) for variant in others]
    columns = [*TO_R.columns, *(column for table in same_order for column in table.columns[2:])]
    full = pa.table(columns, mapped_schema([AFFINE.column, *(variant.column for variant in others)]).names)
    low = predictions(first(30000), tuple(variant.column for variant in curves), shuffle=4)
    found = judged(INC, RES, full, low)
    maps = [Mapped(AFFINE, 0.1, None)]
    maps += [Mapped(variant, None, 320 if variant.share < 1 else 1280) for variant in [*others, *curves]]
    rows = [evaluate_map((INC, RES), found, mapped, DIRECTIONS, 1.0) for mapped in maps]
    main = main_mapping(found, AFFINE, rows)
    losses = [-1.328, 100 * (39022 - 30000) / N]
    assert [row["correct"] for row in rows] == [39686, *[30000] * 5]
    assert [row["loss"] for row in rows] == pytest.approx([losses[0], *losses[1:] * 5])
    assert main["loss_sd"] == pytest.approx(abs(losses[0] - losses[1]) / 2**0.5)
    assert "loss_sd" not in evaluated()["mappings"][0]
    table = correct_maps(pa.Table.from_pylist(rows, schema=MAPS))
    assert table["rank"].to_pylist() == [None, None, None, None, 4, None]
    assert table["seed"].to_pylist() == [0, 1, None, None, None, None]
    assert table["rows"].to_pylist() == [None, 1280, 1280, 1280, 1280, 320]
    tested = [p is not None for p in table["p_holm"].to_pylist()]
    assert tested == [True, False, True, True, False, False], "of the full maps with the first seed"
    assert table["p_holm"][0].as_py() == rows[0]["p_value"]


def test_examples_are_fixed_and_broken_images() -> None:
    found = judged(INC, RES, TO_R)
    rows = pick_examples((INC, RES), found, found.mapped["affine"], 5, 0, None)
    assert [row["kind"] for row in rows] == ["fixed"] * 5 + ["broken"] * 5
    for row in rows:
        number = int(row["image_id"].removeprefix("val/"))
        assert (number < 2296) == (row["kind"] == "broken")
        assert (row["label"], row["own"] == row["label"], row["mapped"] == row["label"]) == (
            number % 1000, row["kind"] == "broken", row["kind"] == "fixed",
        )  # fmt: skip


def test_results_are_written_a_row_a_line_with_null_for_what_json_lacks(tmp_path: Path) -> None:
    results: Any = {
        "experiment": "é",
        "networks": {"a": {"accuracy": 1 / 3}},
        "mappings": [{"loss": 2 / 3, "regions": {"none": 2**53 + 1}}, {"loss": float("nan")}],
        "measures": [],
    }
    data = write_results(str(tmp_path / "results.json"), results)
    assert (tmp_path / "results.json").read_bytes() == data
    found = json.loads(data)
    assert found["experiment"] == "é"
    assert found["networks"]["a"]["accuracy"] == 0.33333333
    assert found["mappings"] == [{"loss": 0.66666667, "regions": {"none": 2**53 + 1}}, {"loss": None}]
    assert '    {"loss":null}\n  ],' in data.decode()
