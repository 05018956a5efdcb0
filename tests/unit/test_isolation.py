"""Poison: an image that kills its decoder, makes it hang or eats its memory is rejected, and it alone."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from poison import POISONED

from lib.experiment.settings import Split
from lib.images.batches import DecodeImages, pixels_of
from lib.images.geometry import Geometry
from lib.images.isolation import decode_alone
from lib.images.listing import list_images

GEOMETRY = Geometry((3, 32, 32), 1.0, "center", "bilinear")


@pytest.fixture
def poison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python that starts from now on has decoders that such images kill."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(POISONED)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


def jpeg(grey: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((40, 50, 3), grey, np.uint8)).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.usefixtures("poison")
def test_each_kind_of_poison_is_rejected_with_its_reason_and_the_others_are_decoded(tmp_path: Path) -> None:
    images = [jpeg(9), b"killer", jpeg(90), b"sleepy", b"hungry", b"<html>", jpeg(200)]
    found = decode_alone(images, [GEOMETRY], 10**6, seconds=3)
    reasons = [answer if isinstance(answer, str) else None for answer in found]
    assert reasons[1] == "kills: its decoder ended by SIGSEGV"
    assert reasons[3] == "hangs: not decoded within 3 s"
    assert str(reasons[4]).startswith("no memory: 6 bytes")
    assert reasons[5] == "not an image: 6 bytes"
    for place in (0, 2, 6):
        (pixels,) = found[place]
        assert reasons[place] is None
        assert pixels.shape == (32, 32, 3)


def test_decoding_alone_gives_the_same_pixels(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label\na.jpg,0\nb.jpg,1\nnone.jpg,2\n")
    for name, grey in (("a", 30), ("b", 60)):
        (tmp_path / f"{name}.jpg").write_bytes(jpeg(grey))
    rows = list_images(Split(location=str(tmp_path / "list.csv")))
    decode = DecodeImages([GEOMETRY], 10**6)
    one, other = decode(rows), decode(rows, alone=True)
    assert one.equals(other)
    assert one["reason"].to_pylist()[2].startswith("missing: ")
    np.testing.assert_array_equal(pixels_of(one, 0, GEOMETRY), pixels_of(other, 0, GEOMETRY))
