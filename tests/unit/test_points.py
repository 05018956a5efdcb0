"""Controls and draws of training rows: the label-only features, what is counted, and the variance from halves."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn.functional import normalize

from lib.evaluation.agreement import Z
from lib.evaluation.coordinates import Coordinates
from lib.evaluation.point_results import add_variances, half_sample_variance
from lib.evaluation.points import SCALE, CountPoints, LabelOnlyRows
from lib.evaluation.predictions import PredictMapped
from lib.evaluation.regions import REGIONS, count_regions
from lib.evaluation.result_tables import MAPS
from lib.experiment.variants import PARTS
from lib.maps.affine import AffineMap
from lib.maps.class_sums import ClassSums, LabelOnly
from lib.maps.closed_forms import ClosedForms
from lib.maps.few_rows import FewRows
from lib.maps.moments import Moments, SourceMoments
from lib.maps.ridge import least_squares
from lib.maps.row_space import row_space
from lib.networks.classifiers import Classifier
from lib.storage.columns import vector_column

draw = torch.Generator().manual_seed(0)
n, d = 4000, 6
label = torch.arange(n) % 4
X = torch.randn(n, d, generator=draw) + 3 * torch.randn(4, d, generator=draw)[label]
Y = torch.randn(n, d, generator=draw) + 3 * torch.randn(4, d, generator=draw)[label]


def test_sums_by_class_merge_and_know_the_spread() -> None:
    whole = ClassSums.of(X, {"B": Y}, label)
    parts = ClassSums.of(X[:10], {"B": Y[:10]}, label[:10] % 2) + ClassSums.of(X[10:], {"B": Y[10:]}, label[10:])
    assert len(parts.counts) == 4, "the first part knew two classes"
    means = torch.stack([X[label == c].mean(0) for c in range(4)])
    torch.testing.assert_close(whole.means.float(), means, rtol=1e-4, atol=1e-4)
    assert whole.spread(d) == pytest.approx(1, abs=0.02)
    torch.testing.assert_close(
        whole.targets["B"][2], normalize(Y[label == 2].double(), dim=1).sum(0), rtol=1e-9, atol=1e-9
    )
    assert whole.known
    assert not ClassSums.of(X[:4], {"B": Y[:4]}, label[:4]).known, "one image a class has no spread"
    assert not ClassSums.of(X[:0], {"B": Y[:0]}, label[:0]).known


def test_the_controls_expected_sums_are_those_of_its_drawn_vectors() -> None:
    sums = ClassSums.of(X, {"B": Y}, label)
    found = sums.label_only_moments("B", Moments.of(X, Y))
    control = LabelOnly(sums.means.numpy(), np.ones(4, bool), sums.spread(d), seed=5)
    drawn = control.vectors([f"{k}.jpg" for k in range(n)], label.numpy())
    seen = Moments.of(drawn, Y)
    scale = float(seen.XX.abs().max())
    torch.testing.assert_close(found.XX / scale, seen.XX / scale, rtol=0, atol=0.02)
    torch.testing.assert_close(found.XY / n, seen.XY / n, rtol=0, atol=0.03)
    assert (control.vectors(["7.jpg"], label[7:8].numpy()) == drawn[7]).all(), (
        "an image's vector depends on its id alone"
    )
    # A map from the control answers with the label, and tells images of one class apart by noise alone.
    map_ = least_squares(found, 0.0)
    classifier = Classifier(torch.stack([Y[label == c].mean(0) for c in range(4)]), torch.zeros(4))
    answers = classifier(map_(torch.from_numpy(drawn))).argmax(1)
    assert float((answers == label).float().mean()) > 0.9


def test_classes_without_training_images_are_left_out() -> None:
    control = LabelOnly(np.zeros((3, d)), np.array([True, False, True]), 1.0, seed=0)
    assert control.has(np.array([0, 1, 2, 3, -1])).tolist() == [True, False, True, False, False]


def table(labels: list[int | None], source: torch.Tensor, target: torch.Tensor) -> pa.Table:
    return pa.table(
        {
            "image_id": [f"{k}.jpg" for k in range(len(labels))],
            "label": pa.array(labels, pa.int32()),
            "A": vector_column(source.numpy()),
            "B": vector_column(target.numpy()),
        }
    )


def test_counts_do_not_depend_on_how_images_come() -> None:
    rows = table([*label[:99].tolist(), None], X[:100], Y[:100])
    map_ = AffineMap(torch.randn(d, d, generator=draw), torch.zeros(d))
    classifier = Classifier(torch.randn(4, d, generator=draw), torch.zeros(4))
    predict = PredictMapped("A", "B", classifier, {"x": map_})
    whole, parts = CountPoints(predict), CountPoints(predict)
    whole(rows)
    for part in (rows.slice(60), rows.slice(0, 60)):
        parts(part)
    assert whole.points() == parts.points()
    predicted = predict(rows)
    expected = sum(a == b for a, b in zip(predicted["predicted_x"].to_pylist(), label[:99].tolist(), strict=False))
    error = predicted["error_x"].to_numpy().astype(float).mean()
    point = whole.points()["x"]
    assert (point["correct"], point["total"]) == (expected, 99)
    assert point["validation_error"] == pytest.approx(error, abs=1 / SCALE)
    assert point["regions"] is None


def test_regions_are_those_of_own_and_mapped_answers() -> None:
    rows = table([*label[:99].tolist(), None], X[:100], Y[:100])
    C_A, C_B = (Classifier(torch.randn(4, d, generator=draw), torch.zeros(4)) for _ in range(2))
    map_ = AffineMap(torch.randn(d, d, generator=draw), torch.zeros(d))
    counter = CountPoints(PredictMapped("A", "B", C_B, {"x": map_}), classifiers=(C_B, C_A))
    for part in (rows.slice(60), rows.slice(0, 60)):
        counter(part)
    right = [
        (answers(features[:99].double()).argmax(1) == label[:99]).numpy()
        for answers, features in (
            (lambda F: F @ C_B.weight.double().T, Y),
            (lambda F: F @ C_A.weight.double().T, X),
            (lambda F: map_.to(torch.float64)(F) @ C_B.weight.double().T, X),
        )
    ]
    found = counter.points()["x"]
    assert found["regions"] == count_regions(*right)
    assert sum(found["regions"].values()) == found["total"] == 99


def test_a_control_is_fed_with_labels_alone() -> None:
    rows = table([0, 1, 2, 3, None], X[:5], Y[:5])
    predict = PredictMapped("A", "B", Classifier(torch.eye(4, d), torch.zeros(4)), {"x": AffineMap.identity(d)})
    control = LabelOnly(np.eye(4, d), np.array([True, True, True, False]), 0.0, seed=0)
    counter = CountPoints(predict, LabelOnlyRows("A", "B", control))
    counter(rows)
    assert counter.points()["x"]["correct"] == counter.points()["x"]["total"] == 3


@pytest.mark.parametrize(("d_A", "d_B"), [(60, 50), (60, 20), (30, 50), (30, 20)])
def test_maps_from_few_rows_are_counted_in_the_rows_spaces_as_among_the_features(d_A: int, d_B: int) -> None:
    """40 training rows: a network with more features has a space."""
    features = {
        "A": torch.randn(140, d_A, generator=draw),
        "B": torch.relu(torch.randn(140, d_B, generator=draw)),
    }
    train, rows = (
        {name: F[:40] for name, F in features.items()},
        table(label[:100].tolist(), features["A"][40:], features["B"][40:]),
    )
    spaces = {name: row_space(F) for name, F in train.items() if F.shape[1] > 40}
    X, Y = (F.double() @ spaces[name].double() if name in spaces else F.double() for name, F in train.items())
    part = np.arange(40) % len(PARTS)
    sums = [SourceMoments.of(X[part == k], {"B": Y[part == k]}) for k in range(len(PARTS))]
    few = FewRows.of(X, {"B": Y}, torch.from_numpy(part), d_A)
    forms = ClosedForms("A", few if "A" in spaces else sums, spaces)
    chosen = tuple(range(12))
    ((_, map_),) = forms.subset_maps(chosen, {"B": 0.1})
    C_A, C_B = (
        Classifier(torch.randn(5, size, generator=draw), torch.randn(5, generator=draw), 1) for size in (d_A, d_B)
    )

    inside = Coordinates("A", "B", spaces)
    found = CountPoints(
        PredictMapped("A", "B", inside.classifier(C_B), {"x": inside.map(map_)}), inside.rows, (C_B, C_A)
    )
    used = np.isin(part, chosen)
    expected_map = least_squares(Moments.of(train["A"][used], train["B"][used]), 0.1)
    lifted = least_squares(forms.moments("B", chosen), 0.1)
    again = PredictMapped("A", "B", inside.classifier(C_B), {"x": inside.of_features(lifted)})(inside.rows(rows))
    plain = PredictMapped("A", "B", C_B, {"x": expected_map})(rows)
    assert again["predicted_x"] == plain["predicted_x"]
    for column in ("error_x", "length_ratio_x"):
        np.testing.assert_allclose(again[column].to_numpy(), plain[column].to_numpy(), rtol=1e-4)
    expected = CountPoints(PredictMapped("A", "B", C_B, {"x": expected_map}), classifiers=(C_B, C_A))
    for counter in (found, expected):
        counter(rows)
    assert found.points()["x"]["validation_error"] == pytest.approx(
        expected.points()["x"]["validation_error"], rel=1e-5
    )
    assert found.points()["x"]["regions"] == expected.points()["x"]["regions"]
    assert 0 < found.points()["x"]["correct"] == expected.points()["x"]["correct"]


def test_a_constant_source_gives_the_mean_from_rows_as_from_sums() -> None:
    constant, part = torch.full((40, 60), 3.0).double(), torch.arange(40) % len(PARTS)
    rows = FewRows.of(constant, {"B": Y[:40].double()}, part, 60)
    assert rows.among(range(len(PARTS))).map("B", 0.1) is None, "the ridge is lost in rounding"
    ((_, map_),) = ClosedForms("A", rows).subset_maps(tuple(range(len(PARTS))), {"B": 0.1})
    lengths = Y[:40].norm(dim=1, keepdim=True)
    torch.testing.assert_close(map_(constant[:1].float()), lengths.mean() * (Y[:40] / lengths).mean(0)[None])


def test_halves_tell_the_variance_over_training_rows() -> None:
    """Halves of one draw of rows against many draws of all rows: the variance of a mean of squares."""
    random = np.random.default_rng(0)
    true = np.var([np.mean(random.normal(size=160) ** 2) for _ in range(20_000)])
    found = []
    for _ in range(2000):
        rows = random.normal(size=160) ** 2
        halves = []
        for _ in range(5):
            order = random.permutation(160)
            halves += [rows[order[:80]].mean(), rows[order[80:]].mean()]
        found.append(half_sample_variance(halves))
    assert np.mean(np.array(found, float)) == pytest.approx(true, rel=0.05)
    assert half_sample_variance([1.0]) is None


def test_loss_error_and_regions_vary_over_images_halves_and_seeds() -> None:
    regions = dict.fromkeys(REGIONS, 25)
    pair = {"source": "A", "target": "B", "family": "affine"}
    mapping = {**pair, "fixed": 50, "broken": 50, "total": 200, "regions": regions}
    mapping["validation_error_ci95"] = [0.5 - Z * 0.01, 0.5 + Z * 0.01]
    halves = [
        {**pair, "share": 0.5, "subset": k, "loss": loss, "validation_error": 0.5 + loss / 100, "regions": counts}
        for k, loss, counts in ((0, 1.0, {**regions, "none": 35}), (1, 3.0, {**regions, "none": 15}))
    ]
    seeds = [{**pair, "seed": k, "loss": float(k), "validation_error": 0.5, "regions": regions} for k in range(3)]
    maps = pa.Table.from_pylist(seeds, schema=MAPS)
    add_variances([mapping], halves, maps)
    loss, error = mapping["loss_variance"], mapping["validation_error_variance"]
    assert (loss["training"], loss["seeds"]) == (1.0, 1.0)
    assert loss["total"] == pytest.approx(loss["evaluation"] + 2)
    assert (error["evaluation"], error["training"], error["seeds"]) == pytest.approx((1e-4, 1e-4, 0))
    assert mapping["regions_sd"]["target"] == pytest.approx((25 * 7 / 8) ** 0.5, abs=0.005)
    assert mapping["regions_sd"]["none"] == pytest.approx((25 * 7 / 8 + 100) ** 0.5, abs=0.005)
    add_variances([mapping], [{**row, "regions": None} for row in halves], maps.slice(0, 1))
    assert mapping["regions_sd"]["none"] == pytest.approx(4.68), "an earlier version counted no regions"
    assert mapping["loss_variance"]["seeds"] is None
