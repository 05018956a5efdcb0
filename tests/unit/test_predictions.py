"""Top-1 of compositions: the identity map changes no prediction; labels of networks with a background class."""

import numpy as np
import pyarrow as pa
import torch

from lib.evaluation.prediction_tables import PREDICTIONS, mapped_schema, maps_in
from lib.evaluation.predictions import PredictMapped, PredictOwn
from lib.maps.affine import AffineMap
from lib.maps.error import unit_distance
from lib.networks.classifiers import Classifier
from lib.storage.columns import vector_column

draw = torch.Generator().manual_seed(0)
F_A = torch.randn(1500, 8, generator=draw)
F_B = torch.randn(1500, 5, generator=draw)
C_B = Classifier(torch.randn(7, 5, generator=draw), torch.randn(7, generator=draw))
M_AB = AffineMap(torch.randn(5, 8, generator=draw), torch.randn(5, generator=draw))
ROWS = pa.table(
    {
        "image_id": [f"i{k}" for k in range(1500)],
        "label": pa.array([None if k % 100 == 0 else k % 7 for k in range(1500)], pa.int32()),
        "a": vector_column(F_A.numpy()),
        "b": vector_column(F_B.numpy()),
    }
)


def test_own_predictions_are_the_classifiers_best_class() -> None:
    found = PredictOwn("b", C_B)(ROWS)
    assert found.schema == PREDICTIONS
    np.testing.assert_array_equal(found["predicted"], C_B(F_B).argmax(1))
    assert found["label"].null_count == 15


def test_mapped_predictions_error_and_length_ratio() -> None:
    low = AffineMap([M_AB.weight[:, :2], M_AB.weight[:2]], M_AB.bias)
    found = PredictMapped("a", "b", C_B, {"affine": M_AB, "low_rank2": low})(ROWS)
    assert found.schema == mapped_schema(["affine", "low_rank2"])
    assert maps_in(found.schema) == ["affine", "low_rank2"]
    for column, map_ in (("affine", M_AB), ("low_rank2", low.multiplied())):
        mapped = map_(F_A)
        np.testing.assert_array_equal(found[f"predicted_{column}"], C_B(mapped).argmax(1))
        np.testing.assert_allclose(found[f"error_{column}"], unit_distance(F_B, mapped), rtol=1e-5)
        ratio = mapped.norm(dim=1) / F_B.norm(dim=1)
        np.testing.assert_allclose(found[f"length_ratio_{column}"], ratio, rtol=1e-5)


def test_the_identity_map_changes_no_prediction() -> None:
    own = PredictOwn("b", C_B)(ROWS)
    same = PredictMapped("b", "b", C_B, {"same": AffineMap.identity(5)})(ROWS)
    assert same["predicted_same"].equals(own["predicted"])
    assert float(np.max(same["error_same"])) < 1e-6


def test_predictions_do_not_depend_on_the_batch() -> None:
    predict = PredictMapped("a", "b", C_B, {"affine": M_AB})
    pieces = pa.concat_tables([predict(ROWS.slice(0, 11)), predict(ROWS.slice(11))])
    assert pieces.equals(predict(ROWS))


def test_background_class_is_taken_off() -> None:
    plain = PredictOwn("b", C_B)(ROWS)["predicted"].to_numpy()
    shifted = PredictOwn("b", Classifier(C_B.weight, C_B.bias, offset=1))(ROWS)["predicted"].to_numpy()
    np.testing.assert_array_equal(shifted, plain - 1)


def test_classifier_is_read_back_with_its_offset(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "c.safetensors").write_bytes(Classifier(C_B.weight, C_B.bias, 1).to_bytes())
    loaded = Classifier.load(str(tmp_path / "c.safetensors"))
    assert torch.equal(loaded.weight, C_B.weight)
    assert loaded.offset == 1
