"""ExtractFeatures called directly: rejected rows, types of the columns, features independent of the batch."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest
import torch

from lib.errors import RunError
from lib.experiment.network_settings import NetworkSettings
from lib.experiment.settings import ExtractSettings
from lib.features.extraction import ExtractFeatures, in_full_batches, reject_not_finite
from lib.features.schemas import feature_schema
from lib.images.geometry import Geometry
from lib.networks.fusing import fuse_batch_norms
from lib.networks.network import Network
from lib.storage.columns import vector_column

NETWORKS = {
    "a": NetworkSettings(model="test_resnet", weights="random"),
    "b": NetworkSettings(model="test_efficientnet", weights="random"),
}


GEOMETRY = Geometry((3, 64, 64), 1.0, "center", "bilinear")  # smaller images than the networks' own cost less


def pixels(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)


def batch(n: int) -> pa.Table:
    """A batch after decoding; its second image was rejected, its first has no label."""
    return pa.table(
        {
            "image_id": [f"i{k}" for k in range(n)],
            "label": pa.array([None, *range(n - 1)], pa.int32()),
            "reason": pa.array([None, "empty: 0 bytes", *[None] * (n - 2)], pa.string()),
            "pixels_0": vector_column(pixels(n).reshape(n, -1)),
        }
    )


@pytest.fixture(scope="module")
def extract() -> ExtractFeatures:
    return ExtractFeatures(NETWORKS, ExtractSettings(batch_size=8), "cpu", dict.fromkeys(NETWORKS, GEOMETRY))


def test_columns_and_rejected_rows(extract: ExtractFeatures) -> None:
    table = extract(batch(5))
    assert table["label"].to_pylist() == [None, 0, 1, 2, 3]
    assert table["a"].is_valid().to_pylist() == [True, False, True, True, True]
    assert pa.types.is_fixed_size_list(table.schema.field("b").type)
    kept = table.filter(pa.array([True, False, True, True, True]))
    images = torch.from_numpy(pixels(5)[[0, 2, 3, 4]])
    network = extract.networks["a"]
    with torch.inference_mode():
        expected = network.features(network.normalise(images.numpy())).numpy()
    got = np.array(kept["a"].to_pylist(), np.float32)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_in_the_images_order_change_no_bit(extract: ExtractFeatures, name: str) -> None:
    """Nor does it depend on the process which norms are fused, and how."""
    images = pixels(8)
    as_loaded = Network(name, NETWORKS[name])
    assert fuse_batch_norms(as_loaded)
    with torch.inference_mode():
        expected = as_loaded.features(as_loaded.normalise(images)).numpy()
    np.testing.assert_array_equal(extract.vectors(name, images), expected)
    assert extract.networks[name].fingerprint() == as_loaded.fingerprint()


@pytest.mark.parametrize("name", NETWORKS)
def test_features_are_the_networks_own(extract: ExtractFeatures, name: str) -> None:
    images = pixels(8)
    own = Network(name, NETWORKS[name])
    with torch.inference_mode():
        expected = own.features(own.normalise(images)).numpy()
    np.testing.assert_allclose(
        extract.vectors(name, images), expected, rtol=0, atol=3e-6 * float(np.abs(expected).max())
    )


def test_features_do_not_depend_on_the_batch(extract: ExtractFeatures) -> None:
    rows = batch(11)
    whole = extract(rows)
    pieces = [extract(rows.slice(0, 3)), extract(rows.slice(3))]
    assert pa.concat_tables(pieces).equals(whole)


def test_float16_tables() -> None:
    extract = ExtractFeatures({"a": NETWORKS["a"]}, ExtractSettings(dtype="float16"), "cpu", {"a": GEOMETRY})
    assert extract(batch(2)).schema.field("a").type.value_type == pa.float16()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_faster_precisions_stay_near(extract: ExtractFeatures, precision: str) -> None:
    options = ExtractSettings(precision=precision, batch_size=8)  # type: ignore[arg-type]
    fast = np.array(
        ExtractFeatures({"a": NETWORKS["a"]}, options, "cpu", {"a": GEOMETRY})(batch(4))["a"].to_pylist()[2:]
    )
    slow = np.array(extract(batch(4))["a"].to_pylist()[2:])
    assert 0 < np.abs(fast - slow).max() < 0.05 * np.abs(slow).max()


@pytest.mark.filterwarnings("default")  # torch.compile's own warnings
def test_compiled_networks_stay_near(extract: ExtractFeatures, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the last stage of torch.compile, which takes half a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    options = ExtractSettings(compile=True, batch_size=8)
    compiled = ExtractFeatures({"a": NETWORKS["a"]}, options, "cpu", {"a": GEOMETRY})
    assert compiled.computes["a"] != compiled.networks["a"].features
    fast, slow = (np.array(one(batch(4))["a"].to_pylist()[2:]) for one in (compiled, extract))
    np.testing.assert_allclose(fast, slow, rtol=1e-4, atol=1e-5)


def test_full_batches_cover_all_rows() -> None:
    sizes = []
    rows = np.arange(10.0)[:, None]
    doubled = in_full_batches(lambda full: (sizes.append(len(full)), 2 * full)[1], rows, 4)
    np.testing.assert_array_equal(np.concatenate([*doubled]), 2 * rows)
    assert sizes == [4, 4, 4]


def test_features_that_are_not_finite_reject_their_image() -> None:
    """NaN as computed, and numbers beyond the table's type; an image with a reason keeps it."""
    reasons = np.array([None, None, "empty: 0 bytes", None], object)
    vectors = np.array([[1, 2], [np.nan, np.inf], [np.nan, 0], [70_000, 3]], np.float32)
    with np.errstate(over="ignore"):
        stored = vectors.astype(np.float16)
    reject_not_finite(reasons, "a", vectors, stored)
    assert reasons[0] is None
    assert reasons[1] == "not finite: network 'a', 2 of 2 numbers"
    assert reasons[2] == "empty: 0 bytes"
    assert reasons[3].startswith("overflow: network 'a', 1 of 2 numbers, up to 70000")
    assert 'extract.dtype = "float32"' in reasons[3]


def test_an_image_whose_features_overflow_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    extract = ExtractFeatures({"a": NETWORKS["a"]}, ExtractSettings(dtype="float16"), "cpu", {"a": GEOMETRY})
    monkeypatch.setattr(extract, "vectors", lambda name, images: np.full((len(images), 3), 1e6, np.float32))
    extract.schema = feature_schema({"a": 3}, "float16")
    found = extract(batch(3))
    assert [reason.partition(":")[0] for reason in found["reason"].to_pylist()] == ["overflow", "empty", "overflow"]
    assert found["a"].null_count == 3


def test_a_gpu_out_of_memory_halves_the_batch_until_it_fits(
    extract: ExtractFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The features are the same up to rounding, and later batches begin with what fits."""
    right, sizes = np.array(extract(batch(5))["a"].to_pylist()[2:]), list[int]()
    compute = extract.computes["a"]

    def tight(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return compute(images)

    monkeypatch.setattr(extract, "batch", 8)
    monkeypatch.setitem(extract.computes, "a", tight)
    np.testing.assert_allclose(np.array(extract(batch(5))["a"].to_pylist()[2:]), right, rtol=1e-4, atol=1e-5)
    assert sorted(sizes, reverse=True)[:2] == [8, 4]
    assert extract.batch == 2
    monkeypatch.setitem(extract.computes, "a", never_fits)
    with pytest.raises(RunError, match="network 'a': one image takes more memory"):
        extract(batch(5))


def never_fits(images: torch.Tensor) -> torch.Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_device_assert_is_one_clear_error(extract: ExtractFeatures, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later")

    monkeypatch.setitem(extract.computes, "a", fail)
    with pytest.raises(RunError, match="network 'a': its computation failed on the GPU"):
        extract(batch(5))


def test_rejected_images_have_the_schema_of_others(extract: ExtractFeatures) -> None:
    computed, refused = extract(batch(3)), extract.rejecting(batch(3), "kills: x")
    assert refused.schema.equals(computed.schema)
    assert refused["reason"].to_pylist() == ["kills: x"] * 3
    assert refused["a"].null_count == 3
    assert len(pa.concat_tables([computed, refused])) == 6
