"""The affine map: its algebra, its file."""

from pathlib import Path

import pytest
import torch

from lib.maps.affine import AffineMap


def test_map_equals_the_papers_augmented_matrix() -> None:
    """One matrix with b as an extra column and a last row (0 ... 0 1), applied to [F_A; 1]."""
    draw = torch.Generator().manual_seed(0)
    m = AffineMap(torch.randn(3, 5, generator=draw), torch.randn(3, generator=draw))
    augmented = torch.eye(4, 6)
    augmented[:3, :5], augmented[:3, 5], augmented[3] = m.weight, m.bias, torch.tensor([0, 0, 0, 0, 0, 1.0])
    F_A = torch.randn(7, 5, generator=draw)
    expected = (augmented @ torch.cat([F_A, torch.ones(7, 1)], 1).T).T
    torch.testing.assert_close(m(F_A), expected[:, :3])
    torch.testing.assert_close(expected[:, 3], torch.ones(7))


def test_map_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    m = AffineMap(torch.arange(6.0).reshape(3, 2).T, torch.ones(2))  # not C-contiguous: safetensors alone gets it wrong
    m.save(str(tmp_path / "m.safetensors"))
    loaded = AffineMap.load(str(tmp_path / "m.safetensors"))
    assert torch.equal(loaded.weight, m.weight)
    assert torch.equal(loaded.bias, m.bias)


def test_wrong_shapes_are_refused_naming_both_sides() -> None:
    with pytest.raises(ValueError, match=r"expected features \(n, 4\), got \(2, 5\)"):
        AffineMap.identity(4)(torch.ones(2, 5))
    with pytest.raises(ValueError, match="expected weight"):
        AffineMap(torch.ones(2, 3), torch.ones(3))
