"""Resizing without what the crop throws away: bit-equal to timm's transform, the fast one within two grey levels."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lib.demo.pictures import draw_picture
from lib.images.decoding import decode, jpeg_header
from lib.images.geometry import Geometry
from lib.images.pixels import decode_for
from lib.images.resizing import EvaluationTransform, steps_of

LARGEST = 2  # grey levels, what EvaluationTransform's docstring says of `fast`
LARGEST_REDUCED = 11  # what its `reduction` says
LIMIT = 10**8  # pixels
PHOTOGRAPHS = Path(__file__).parents[3] / "shared/photos"
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


def test_a_very_long_image_takes_no_gigabytes() -> None:
    """8,000 x 2 pixels would be 256,000 x 64 of them before the crop, and 32 times as many at 224 pixels."""
    options = {"input_size": (3, 64, 64), "crop_pct": 1.0, "crop_mode": "center", "interpolation": "bicubic"}
    for shape in ((8000, 2), (60, 5900)):
        image = noise(*shape)
        np.testing.assert_array_equal(ours(options, fast=True)(image), timms(image, **options))


def large_jpeg(width: int, height: int) -> bytes:
    """A drawn picture as a JPEG of a camera's size."""
    file = io.BytesIO()
    draw_picture(5, max(width, height), (0,)).crop((0, 0, width, height)).save(file, "JPEG", quality=90)
    return file.getvalue()


def fast_geometry(size: int, transform: str = "fast", interpolation: str = "bicubic") -> Geometry:
    return Geometry((3, size, size), 1.0, "center", interpolation, transform=transform).known()


@pytest.mark.parametrize(
    ("of", "reduction"),
    [
        ((384, 384), 2),  # 6 times the 64 pixels that are needed: 3 times remain
        ((382, 384), 1),
        ((512, 384), 2),
        ((513, 384), 1),  # an odd side would move all pixels by a fraction of one
        ((1536, 768), 4),
        ((1538, 770), 2),
        ((4000, 3000), 8),
        ((64, 64), 1),
        ((1, 4000), 1),
    ],
)
def test_large_jpegs_are_reduced_while_enough_pixels_remain(of: tuple[int, int], reduction: int) -> None:
    assert fast_geometry(64).reduction(of) == reduction
    assert fast_geometry(64, "timm").reduction(of) == 1
    assert fast_geometry(64, interpolation="lanczos").reduction(of) == 1, "PyTorch has no such kernel"


def test_a_reduced_jpeg_is_nearly_the_whole_one() -> None:
    data = large_jpeg(1200, 800)
    whole = decode(data, LIMIT)
    (found,) = decode_for(data, [fast_geometry(64)], LIMIT)
    off = np.abs(found.astype(int) - fast_geometry(64).pixels(whole))
    assert 0 < off.max() <= LARGEST_REDUCED
    assert off.mean() < 0.5
    for mode in ("RGB", "L", "CMYK"):
        file = io.BytesIO()
        whole.convert(mode).save(file, "JPEG")
        assert decode(file.getvalue(), LIMIT, reduction=4).size == (300, 200), "what was decoded"


def test_other_networks_beside_change_no_pixel() -> None:
    data = large_jpeg(1200, 800)
    several = [fast_geometry(64), fast_geometry(64, "timm"), fast_geometry(100)]
    alone = [decode_for(data, [geometry], LIMIT)[0] for geometry in several]
    for found, expected in zip(decode_for(data, several, LIMIT), alone, strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(alone[1], several[1].pixels(decode(data, LIMIT)))


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="there are no photographs beside the project")
def test_reduced_photographs_are_as_near_as_is_said() -> None:
    geometry, differing = fast_geometry(96), []
    for file in sorted(PHOTOGRAPHS.glob("*/*.JPEG")):
        data = file.read_bytes()
        header = jpeg_header(data)
        if header is not None and geometry.reduction(header[1]) > 1:
            off = np.abs(decode_for(data, [geometry], LIMIT)[0].astype(int) - geometry.pixels(decode(data, LIMIT)))
            assert off.max() <= LARGEST_REDUCED
            differing.append(np.mean(off > 0))
    assert len(differing) > 5
    assert 0.1 < np.mean(differing) < 0.35
