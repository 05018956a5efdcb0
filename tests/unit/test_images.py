"""Decoding: real files, bad in the ways that real image sets are; geometry bit-equal to timm's own transform."""

import io
import struct
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import timm.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lib.errors import UnreadableImage
from lib.experiment.settings import Split
from lib.images.batches import DecodeImages, pixels_of
from lib.images.decoding import colour_pixels, decode
from lib.images.geometry import Geometry
from lib.images.listing import list_images
from lib.images.pixels import decode_for

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (48, 40, 3), dtype=np.uint8)
LIMIT = 10_000


def encoded(image: Image.Image, kind: str, **more: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


RGB = Image.fromarray(PIXELS)
PALETTE = RGB.quantize(16)
JPEG = encoded(RGB, "JPEG")
EXIF = Image.Exif()
EXIF[0x0112] = 6  # turned by 90 degrees
# Pillow writes CMYK JPEGs with Adobe's marker and transform 0; transform 2 makes the same planes YCCK.
CMYK = encoded(RGB.convert("CMYK"), "JPEG")
GOOD = {
    "a PNG named .JPEG": encoded(RGB, "PNG"),
    "CMYK": CMYK,
    "YCCK": CMYK.replace(b"Adobe\x00\x64\x00\x00\x00\x00\x00", b"Adobe\x00\x64\x00\x00\x00\x00\x02"),
    "grey": encoded(RGB.convert("L"), "JPEG"),
    "16 bits": encoded(Image.fromarray(np.full((9, 9), 40_000, np.uint16)), "PNG"),
    "palette with transparency": encoded(PALETTE, "PNG", transparency=bytes(range(16))),
    "EXIF orientation": encoded(RGB, "JPEG", exif=EXIF),
    "RGBA": encoded(RGB.convert("RGBA"), "PNG"),
}
BAD = {
    "empty": b"",
    "truncated": JPEG[: len(JPEG) // 2],
    "not an image": b"<html>404</html>",
    "too many pixels": encoded(Image.new("L", (200, 200)), "PNG"),
}


@settings(deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2), st.booleans(), st.integers(5, 100), st.integers(0, 9))
def test_simplejpeg_gives_pillows_pixels(
    width: int, height: int, subsampling: int, progressive: bool, quality: int, seed: int
) -> None:
    pytest.importorskip("simplejpeg", reason="the `slim` extra isn't installed")
    image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
    data = encoded(image, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
    found = colour_pixels(data, LIMIT)
    assert found is not None
    np.testing.assert_array_equal(found, np.asarray(decode(data, LIMIT)))


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_simplejpeg_reduces_as_pillow_does(reduction: int, subsampling: int) -> None:
    pytest.importorskip("simplejpeg", reason="the `slim` extra isn't installed")
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(pixels), "JPEG", subsampling=subsampling)
    found = colour_pixels(data, LIMIT, reduction)
    assert found is not None
    assert found.shape == (24 // reduction, 40 // reduction, 3)
    np.testing.assert_array_equal(found, np.asarray(decode(data, LIMIT, reduction=reduction)))


@pytest.mark.parametrize("name", [*GOOD, *BAD])
def test_simplejpeg_leaves_to_pillow_what_is_no_sound_colour_jpeg(name: str) -> None:
    data = (GOOD | BAD)[name]
    found = colour_pixels(data, LIMIT)
    if name == "EXIF orientation" and find_spec("simplejpeg"):
        np.testing.assert_array_equal(found, np.asarray(decode(data, LIMIT)))
    else:
        assert found is None
    assert colour_pixels(encoded(Image.new("RGB", (200, 200)), "JPEG"), LIMIT) is None, "more pixels than are allowed"


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.filterwarnings("ignore:Palette images:UserWarning")  # Pillow's own, in the expected value alone
def test_odd_images_become_rgb_as_pillow_converts_them(name: str) -> None:
    image = decode(GOOD[name], LIMIT)
    assert image.mode == "RGB"
    expected = Image.open(io.BytesIO(GOOD[name])).convert("RGB")
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


def test_cmyk_and_ycck_are_different_files() -> None:
    assert GOOD["CMYK"] != GOOD["YCCK"]


def test_exif_orientation_is_ignored() -> None:
    assert decode(GOOD["EXIF orientation"], LIMIT).size == (40, 48)


@pytest.mark.parametrize("category", BAD)
def test_bad_images_have_a_reason(category: str) -> None:
    with pytest.raises(UnreadableImage, match=f"^{category}: "):
        decode(BAD[category], LIMIT)


@given(st.integers(0, len(JPEG) - 1), st.binary(min_size=1, max_size=8), st.sampled_from([JPEG, GOOD["RGBA"], b""]))
def test_mangled_bytes_decode_or_are_unreadable_and_nothing_else(place: int, junk: bytes, whole: bytes) -> None:
    mangled = whole[:place] + junk + whole[place + len(junk) :]
    try:
        image = decode(mangled, LIMIT)
    except UnreadableImage:
        return
    assert image.mode == "RGB"
    assert image.width * image.height <= LIMIT


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize(("size", "interpolation"), [(32, "bicubic"), (24, "bilinear")])
def test_pixels_are_bit_equal_to_timms_transform(crop_mode: str, size: int, interpolation: str) -> None:
    shape = {"input_size": (3, size, size), "crop_pct": 0.875, "crop_mode": crop_mode, "interpolation": interpolation}
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    timms = timm.data.create_transform(**shape, mean=mean, std=std, is_training=False)
    pixels = Geometry(**shape, fill=mean if crop_mode == "border" else None).pixels(RGB)
    assert pixels.shape == (size, size, 3)
    normalised = (pixels.astype(np.float32) / np.float32(255) - np.float32(mean)) / np.float32(std)
    np.testing.assert_allclose(normalised.transpose(2, 0, 1), timms(RGB).numpy(), rtol=0, atol=2e-7)


def test_no_row_is_ever_dropped(tmp_path: Path) -> None:
    files = {**GOOD, **BAD}
    for place, data in enumerate(files.values()):
        (tmp_path / f"{place:02d}.JPEG").write_bytes(data)
    names = [f"{place:02d}.JPEG" for place in range(len(files))] + ["missing.JPEG"]
    listing = tmp_path / "list.csv"
    listing.write_text("path,label\n" + "".join(f"{name},3\n" for name in names))
    geometries = [Geometry((3, 8, 8), 1.0, "center", "bilinear"), Geometry((3, 16, 16), 0.9, "center", "bicubic")]
    batch = DecodeImages(geometries, LIMIT)(list_images(Split(location=str(listing))))
    assert batch["image_id"].to_pylist() == names
    reasons = batch["reason"].to_pylist()
    assert reasons[: len(GOOD)] == [None] * len(GOOD)
    assert [reason.partition(":")[0] for reason in reasons[len(GOOD) :]] == [*BAD, "missing"]
    small, large = (pixels_of(batch, k, geometry) for k, geometry in enumerate(geometries))
    assert small.shape == (len(names), 8, 8, 3)
    assert large.shape == (len(names), 16, 16, 3)
    assert not large[len(GOOD) :].any()
    assert large[: len(GOOD)].reshape(len(GOOD), -1).any(1).all()


def png_header(width: int, height: int) -> bytes:
    """A PNG of so many pixels, all of them black: some bytes for a gigabyte."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    packer, row = zlib.compressobj(9), bytes(4 * width + 1)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def wrapped(kind: str, png: bytes) -> bytes:
    """A picture inside another, which says that it has 256 x 256 pixels."""
    if kind == "ico":
        return struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(png), 22) + png
    return b"icns" + struct.pack(">I", 16 + len(png)) + b"ic08" + struct.pack(">I", 8 + len(png)) + png


@pytest.mark.parametrize("kind", ["ico", "icns"])
def test_a_picture_inside_a_picture_is_measured_before_it_is_decoded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = wrapped(kind, png_header(5000, 5000))

    def decoded(self: Image.Image) -> None:
        raise AssertionError("it is decoded")

    with monkeypatch.context() as patched:
        patched.setattr("PIL.PngImagePlugin.PngImageFile.load", decoded)
        with pytest.raises(UnreadableImage, match="too many pixels: 25000000, 100000 allowed"):
            decode(bomb, 100_000)
    assert decode(wrapped(kind, png_header(256, 256)), 65_536).size == (256, 256), "as many as are allowed"
    assert Image.MAX_IMAGE_PIXELS is None


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("too deep")])
def test_a_decoder_out_of_memory_or_of_stack_rejects_the_image(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(self: Image.Image) -> None:
        raise error

    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", fail)
    with pytest.raises(UnreadableImage, match=r"no memory: \d+ bytes|corrupt: RecursionError too deep"):
        decode_for(JPEG, [Geometry((3, 32, 32), 1.0, "center", "bilinear")], LIMIT)
