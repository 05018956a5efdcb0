"""The stitched network as a module: it gives what its parts give one after another, exported or not."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.errors import NetworkError
from lib.experiment.network_settings import NetworkSettings
from lib.maps.affine import AffineMap
from lib.maps.stitched import Stitched
from lib.networks.network import Network

torch.manual_seed(0)
A = Network("a", NetworkSettings(model="test_resnet", weights="random"))
B = Network("b", NetworkSettings(model="test_efficientnet", weights="random"))
assert B.classifier is not None
M = AffineMap(torch.randn(B.feature_size, A.feature_size), torch.randn(B.feature_size))
PIXELS = torch.rand(3, *A.geometry.input_size)
ORIGIN = {
    "source": "a", "target": "b", "source_fingerprint": A.feature_fingerprint(),
    "target_fingerprint": B.feature_fingerprint(), "fit_error": 0.5,
}  # fmt: skip


@torch.no_grad()
def expected() -> torch.Tensor:
    assert B.classifier is not None
    bytes_ = (255 * PIXELS.permute(0, 2, 3, 1)).round().to(torch.uint8).numpy()
    return B.classifier(M(A.features(A.normalise(bytes_))))


def rounded() -> torch.Tensor:
    return (255 * PIXELS).round() / 255


@torch.no_grad()
def test_it_gives_b_the_scores_that_its_parts_give_one_after_another() -> None:
    assert B.classifier is not None
    torch.testing.assert_close(Stitched(A, M, B.classifier)(rounded()), expected(), rtol=1e-4, atol=1e-3)
    with pytest.raises(ValueError, match="expected a map"):
        Stitched(A, AffineMap(torch.ones(3, 4), torch.ones(3)), B.classifier)


@torch.no_grad()
def test_torch_exports_it(tmp_path: Path) -> None:
    assert B.classifier is not None
    images = torch.export.Dim("images", min=1, max=64)
    program = torch.export.export(Stitched(A, M, B.classifier), (rounded(),), dynamic_shapes=({0: images},))
    torch.export.save(program, tmp_path / "stitched.pt2")
    again = torch.export.load(tmp_path / "stitched.pt2").module()
    torch.testing.assert_close(again(rounded()), expected(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(again(rounded()[:1]), expected()[:1], rtol=1e-4, atol=1e-3)


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="the `onnx` extra isn't installed",
)
@pytest.mark.filterwarnings("default")
def test_onnx_takes_it(tmp_path: Path) -> None:
    import onnxruntime

    assert B.classifier is not None
    program = torch.onnx.export(Stitched(A, M, B.classifier), (rounded(),), dynamo=True, verbose=False)
    assert program is not None
    program.save(str(tmp_path / "stitched.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "stitched.onnx"), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {session.get_inputs()[0].name: rounded().numpy()})
    np.testing.assert_allclose(scores, expected().numpy(), rtol=1e-3, atol=1e-2)


def test_a_map_says_what_it_was_made_from_and_goes_between_no_other_networks(tmp_path: Path) -> None:
    assert B.classifier is not None
    uri = str(tmp_path / "a-to-b.safetensors")
    assert M.save(uri, ORIGIN) == M.save(uri, ORIGIN), "the same bytes"
    found, origin = AffineMap.load_with_origin(uri)
    assert origin == ORIGIN
    assert torch.equal(found.weight, M.weight)
    Stitched.load(A, uri, B.classifier, B)
    pooled = Network("a", NetworkSettings(model="test_resnet", weights="random", pool="max"))
    with pytest.raises(NetworkError, match=r"other weights or features of its source, 'a'.*network 'a'"):
        Stitched.load(pooled, uri, B.classifier)
    with pytest.raises(NetworkError, match=r"of its target, 'b'.*network 'a'"):
        Stitched.load(A, uri, B.classifier, A)
    M.save(uri)
    assert AffineMap.load_with_origin(uri)[1] == {}
