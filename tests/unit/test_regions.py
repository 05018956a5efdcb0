"""The eight regions: their order, and that they part the images."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.evaluation.regions import REGIONS, count_regions

rights = st.integers(0, 60).flatmap(lambda n: st.tuples(*[arrays.arrays(bool, n)] * 3))


def test_one_image_in_each_region() -> None:
    codes = np.array([0b111, 0b110, 0b101, 0b011, 0b100, 0b010, 0b001, 0b000])
    target, source, mapped = ((codes & bit).astype(bool) for bit in (0b100, 0b010, 0b001))
    for k, region in enumerate(REGIONS):
        counts = count_regions(target[k : k + 1], source[k : k + 1], mapped[k : k + 1])
        assert counts == {name: int(name == region) for name in REGIONS}


@given(rights)
def test_regions_part_the_images(sets: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    counts = count_regions(*sets)
    assert tuple(counts) == REGIONS
    assert sum(counts.values()) == len(sets[0])
    for name, right in zip(("target", "source", "mapped"), sets, strict=True):
        assert sum(count for region, count in counts.items() if name in region.split("+")) == right.sum()


def test_arrays_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        count_regions(np.ones(2, bool), np.ones(2, bool), np.ones(3, bool))
