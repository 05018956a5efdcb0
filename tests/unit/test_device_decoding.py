"""Decoding where networks compute, here on the CPU: near Pillow's pixels, and Pillow's reasons for bad images."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from lib.demo.pictures import draw_picture
from lib.experiment.network_settings import NetworkSettings, Preprocessing
from lib.experiment.settings import ExtractSettings
from lib.experiment.splits import Split
from lib.features.extraction import ExtractFeatures
from lib.images.batches import DecodeImages
from lib.images.decoding import decode
from lib.images.device_decoding import decode_jpegs, decode_on_device
from lib.images.geometry import Geometry
from lib.images.listing import list_images

LIMIT = 200_000
GREY_LEVELS = 2  # weights are not rounded, Pillow's are


def encoded(image: Image.Image, kind: str = "JPEG", **more: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


PICTURE = draw_picture(3, 300, (0,)).crop((0, 0, 300, 220))
JPEG = encoded(PICTURE, quality=95)
FILES = {
    "colour": JPEG,
    "grey": encoded(PICTURE.convert("L")),
    "progressive": encoded(PICTURE, progressive=True),
    "CMYK": encoded(PICTURE.convert("CMYK")),
    "PNG": encoded(PICTURE, "PNG"),
    "truncated": JPEG[: len(JPEG) // 2],
    "empty": b"",
    "very long": encoded(PICTURE.resize((4000, 3))),
    "too large": encoded(Image.new("RGB", (600, 400))),
}


def geometry(jpeg: str = "nvjpeg", interpolation: str = "bicubic", crop_mode: str = "center") -> Geometry:
    return Geometry((3, 96, 96), 0.875, crop_mode, interpolation, jpeg=jpeg).known()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("crop_mode", ["center", "squash"])
def test_pixels_and_reasons_are_those_of_pillow(interpolation: str, crop_mode: str) -> None:
    pixels, reasons = decode_on_device(list(FILES.values()), geometry("nvjpeg", interpolation, crop_mode), "cpu", LIMIT)
    by_pillow = geometry("pillow", interpolation, crop_mode)
    assert pixels.dtype == np.uint8
    for name, found, reason in zip(FILES, pixels, reasons, strict=True):
        if reason is None:
            expected = by_pillow.pixels(decode(FILES[name], LIMIT))
            assert np.abs(found.astype(int) - expected).max() <= GREY_LEVELS, name
        else:
            assert not found.any(), name
    assert [(reason or "").partition(":")[0] for reason in reasons] == [""] * 5 + [
        "truncated", "empty", "", "too many pixels"
    ]  # fmt: skip


def test_a_broken_image_costs_no_other_its_pixels() -> None:
    broken = JPEG[:400] + b"\xff\xd8" * 40
    found = decode_jpegs([JPEG, broken, JPEG], "cpu")
    assert found[1] is None
    assert found[0] is not None
    assert found[2] is not None
    assert torch.equal(found[0], found[2])
    assert decode_jpegs([], "cpu") == []


def test_features_are_near_those_of_pixels_by_pillow(tmp_path: Path) -> None:
    """Two networks with the same images: one's are decoded where it computes, the other's before."""
    for name, data in FILES.items():
        (tmp_path / f"{name}.JPEG").write_bytes(data)
    rows = "".join(f"{name}.JPEG,0\n" for name in [*FILES, "absent"])
    (tmp_path / "list.csv").write_text("path,label\n" + rows)
    listing = list_images(Split(location=str(tmp_path / "list.csv")))
    networks = {
        name: NetworkSettings.model_validate(
            {"model": "test_resnet", "weights": "random", "preprocessing": {"jpeg": jpeg}}
        )
        for name, jpeg in (("here", "nvjpeg"), ("before", "pillow"))
    }
    extract = ExtractFeatures(networks, ExtractSettings(batch_size=4, threads=1), "cpu", max_pixels=LIMIT)
    batch = DecodeImages(list(extract.geometries.values()), LIMIT)(listing)
    assert {"encoded", "pixels_1"} <= set(batch.column_names)
    assert "pixels_0" not in batch.column_names, "nothing travels twice"
    features = extract(batch)
    alone = ExtractFeatures({"here": networks["here"]}, ExtractSettings(batch_size=4, threads=1), "cpu", None, LIMIT)
    few = alone(DecodeImages([alone.geometries["here"]], LIMIT)(listing))
    assert few["here"] == features["here"], "whatever is computed beside"
    assert few["reason"] == features["reason"]
    reasons = dict(zip(features["image_id"].to_pylist(), features["reason"].to_pylist(), strict=True))
    assert sorted(name for name, reason in reasons.items() if reason is not None) == [
        "absent.JPEG", "empty.JPEG", "too large.JPEG", "truncated.JPEG"
    ]  # fmt: skip
    for here, before in zip(features["here"].to_pylist(), features["before"].to_pylist(), strict=True):
        assert (here is None) == (before is None)
        if here is not None:
            np.testing.assert_allclose(here, before, rtol=0.2, atol=0.05)


def test_other_transforms_resize_by_themselves() -> None:
    with pytest.raises(ValidationError, match="nvjpeg"):
        Preprocessing(jpeg="nvjpeg", transform="fast")
