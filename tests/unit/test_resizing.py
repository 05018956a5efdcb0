"""Resizing without what the crop throws away: bit-equal to timm's transform, the fast one within two grey levels."""

from typing import Any

import numpy as np
import pytest
import timm.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lib.images.resizing import EvaluationTransform, steps_of

LARGEST = 2  # grey levels, what EvaluationTransform's docstring says of `fast`
PHOTOGRAPH = (500, 375)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Every rounding counts: no two neighbouring pixels are alike."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def timms(image: Image.Image, **options: Any) -> np.ndarray:
    """Pixels of timm's own transform, which knows nothing of lib.resizing."""
    transform = timm.data.create_transform(**options, is_training=False, use_prefetcher=True)
    return np.asarray(transform(image)).transpose(1, 2, 0)


def ours(options: dict[str, Any], fast: bool = False) -> EvaluationTransform:
    return EvaluationTransform(options, steps_of(options), fast)


SHAPES = st.fixed_dictionaries(
    {
        "input_size": st.tuples(st.just(3), st.integers(5, 70), st.integers(5, 70))
        | st.integers(5, 70).map(lambda size: (3, size, size)),
        "crop_pct": st.sampled_from([0.3, 0.875, 0.89, 0.9, 0.95, 1.0]),
        "crop_mode": st.sampled_from(["center", "squash", "border"]),
        "interpolation": st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
    }
)
SIDES = st.integers(1, 8) | st.integers(1, 220)  # tiny ones too: smaller than any crop


@settings(max_examples=250, deadline=None)
@given(SIDES, SIDES, SHAPES)
def test_bit_equal_to_timms_transform(width: int, height: int, options: dict[str, Any]) -> None:
    image = noise(width, height)
    try:
        expected = timms(image, **options)
    except ValueError:  # Pillow makes no image without pixels: of a very long one the short side vanishes
        with pytest.raises(ValueError, match=r"."):
            ours(options)(image)
        return
    found = ours(options)(image)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected)
    fast = ours(options, fast=True)(image)
    assert fast.shape == expected.shape
    assert np.abs(fast.astype(int) - expected).max() <= LARGEST


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(3, 4), (4, 3), (64, 2), (2, 64), (2, 300), (900, 3), (3, 900), (1, 1), (500, 333)])
def test_bit_equal_for_images_below_the_crop_and_of_extreme_shapes(size: tuple[int, int], interpolation: str) -> None:
    for mode in ("center", "squash"):  # "border" has no pixels left of these
        options = {"input_size": (3, 32, 32), "crop_pct": 0.875, "crop_mode": mode, "interpolation": interpolation}
        np.testing.assert_array_equal(ours(options)(noise(*size)), timms(noise(*size), **options))


@pytest.mark.parametrize("shrunk", range(38, 44))
def test_bit_equal_where_pillow_turns_the_order_of_rows_and_columns(shrunk: int) -> None:
    """100 x 120 to 80 x (120 - shrunk): twice the width's 20 pixels are 40, above which columns come first."""
    height = 120 - shrunk
    options = {"input_size": (3, height, 80), "crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bicubic"}
    image = noise(100, 120)
    np.testing.assert_array_equal(ours(options)(image), timms(image, **options))


@pytest.mark.parametrize(("size", "crop_pct"), [(224, 0.875), (260, 0.89), (299, 0.875)])
def test_a_photographs_size_at_the_networks_geometries(size: int, crop_pct: float) -> None:
    options = {"input_size": (3, size, size), "crop_pct": crop_pct, "crop_mode": "center", "interpolation": "bicubic"}
    for shape in (PHOTOGRAPH, PHOTOGRAPH[::-1]):
        image = noise(*shape)
        expected = timms(image, **options)
        np.testing.assert_array_equal(ours(options)(image), expected)
        off = np.abs(ours(options, fast=True)(image).astype(int) - expected)
        assert off.max() <= LARGEST
        assert 0 < np.mean(off > 0) < 0.02, "other kernels, nearly the same numbers"


def test_one_grey_stays_that_grey() -> None:
    options = {"input_size": (3, 24, 24), "crop_pct": 0.9, "crop_mode": "center", "interpolation": "bicubic"}
    for fast in (False, True):
        assert (ours(options, fast)(Image.new("RGB", (50, 70), (200, 3, 90))) == (200, 3, 90)).all()
