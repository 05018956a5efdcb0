"""The networks' rows of the benchmark with a tiny network: all settings that a CPU has, and what they change."""

import numpy as np

from lib.benchmarks.decoding import beside_all_cores, draw_photographs
from lib.benchmarks.networks import BFLOAT16, FLOAT32, Case, changed, compare, in_flight
from lib.experiment.network_settings import NetworkSettings
from lib.experiment.settings import ExtractSettings
from lib.features.extraction import ExtractFeatures


def test_rows() -> None:
    images = draw_photographs(5)
    case = Case("test_resnet", 64, 4, 2, (FLOAT32, FLOAT32, BFLOAT16))
    rows = compare(case, "cpu", 2, images)
    for row in rows:
        assert min(*row.project, *row.reference) > 0
        assert len(row.project) == len(row.reference) == 2
    exact, again, faster = rows[::2]
    assert again.note == exact.note
    assert "differ by 0.0e+00 of their length at most, predictions of 0 of 5" in exact.note
    assert "0.0e+00" not in faster.note


def test_rows_that_a_gpu_has() -> None:
    """They are run on the CPU here."""
    network = NetworkSettings(model="test_resnet", weights="random")
    extract = ExtractFeatures({"it": network}, ExtractSettings(), "cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    row = in_flight(extract, pixels, 2, 2, "CPU")
    assert min(*row.project, *row.reference) > 0
    row = beside_all_cores(draw_photographs(3), "cpu", 2)
    assert min(*row.project, *row.reference) > 0
    assert row.note.startswith("3 images; beside timm's transform")


def test_what_changed_is_counted() -> None:
    """Features that are twice as long are as far away as they are long; opposite ones change predictions."""
    network = NetworkSettings(model="test_resnet", weights="random")
    extract = ExtractFeatures({"it": network}, ExtractSettings(), "cpu")
    extract.networks["it"].classifier.bias.zero_()
    exact = np.random.default_rng(0).random((3, extract.networks["it"].feature_size), np.float32)
    assert changed(extract, exact, 2 * exact) == (
        "features differ by 1.0e+00 of their length at most, predictions of 0 of 3"
    )
    assert changed(extract, exact, -exact) == (
        "features differ by 2.0e+00 of their length at most, predictions of 3 of 3"
    )
