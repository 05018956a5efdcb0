"""Images are told by their features: the same bits, whatever their names; a zero vector tells nothing."""

import numpy as np

from lib.evaluation.shared_images import fingerprints

draw = np.random.default_rng(0)
F, G = draw.normal(size=(50, 8)).astype(np.float16), draw.normal(size=(50, 5)).astype(np.float16)


def test_equal_vectors_have_equal_fingerprints_in_any_order() -> None:
    whole = fingerprints([F, G])
    order = draw.permutation(50)
    np.testing.assert_array_equal(fingerprints([F[order], G[order]]), whole[order])
    assert len(np.unique(whole)) == 50


def test_one_bit_of_one_network_is_another_image() -> None:
    other = G.copy()
    other[7, 3] = np.nextafter(other[7, 3], np.float16(9))
    differs = fingerprints([F, other]) != fingerprints([F, G])
    assert np.flatnonzero(differs).tolist() == [7]


def test_networks_that_are_blind_to_an_image_tell_nothing() -> None:
    blind = np.zeros((50, 4), np.float16)
    assert not fingerprints([F, blind]).any()
    one = G.copy()
    one[9] = 0
    assert np.flatnonzero(fingerprints([F, one]) == 0).tolist() == [9]
    constant = np.ones((50, 4), np.float16)
    assert len(np.unique(fingerprints([F, constant]))) == 50, "one network that sees them is enough"
