"""Decompositions: what SciPy and PyTorch find is the same."""

from collections.abc import Iterator

import pytest
import torch

from lib.maps.decompositions import eigh, svd


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_eigenvectors_are_those_of_the_matrix_in_rising_order() -> None:
    X = torch.randn(40, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    S = X.T @ X
    values, V = eigh(S)
    assert torch.equal(values, values.sort().values)
    torch.testing.assert_close(S @ V, V * values)
    torch.testing.assert_close(V.T @ V, torch.eye(24, dtype=torch.float64))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("shape", [(20, 7), (7, 20), (9, 9), (0, 3), (3, 0)])
def test_a_product_of_singular_vectors_is_the_matrix(shape: tuple[int, int]) -> None:
    A = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    P, sigma, Qt = svd(A)
    assert P.shape == (shape[0], min(shape))
    assert torch.equal(sigma, sigma.sort(descending=True).values)
    torch.testing.assert_close(P * sigma @ Qt, A)
