"""Batches: rows of both networks belong together, each row comes equally often, a restored source goes on."""

import pytest
import torch

from lib.rows import ResidentRows, Share


def numbered(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows that say which they are."""
    count = torch.arange(float(n))[:, None]
    return count.repeat(1, 3), -count.repeat(1, 2)


def test_rows_belong_together_and_come_equally_often() -> None:
    rows = ResidentRows(*numbered(10), seed=0)
    x, y = rows.draw(20_000)
    assert x.shape == (20_000, 3)
    assert torch.equal(y, -x[:, :2])
    shares = torch.bincount(x[:, 0].long(), minlength=10) / 20_000
    torch.testing.assert_close(shares, torch.full((10,), 0.1), atol=0.02, rtol=0)


def test_a_restored_source_goes_on() -> None:
    rows, other = (ResidentRows(*numbered(1000), seed=seed) for seed in (1, 2))
    rows.draw(5)
    other.restore(rows.state())
    assert torch.equal(rows.draw(50)[0], other.draw(50)[0])


def test_features_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(4, 2\)"):
        ResidentRows(torch.ones(3, 2), torch.ones(4, 2), seed=0)


def test_workers_shares_are_the_whole_batch() -> None:
    whole = ResidentRows(*numbered(1000), seed=3).draw(11)[0]
    shares = [ResidentRows(*numbered(1000), seed=3, share=Share(rank, 3)).draw(11)[0] for rank in range(3)]
    assert torch.equal(torch.cat(shares), whole)
    assert {len(share) for share in shares} == {3, 4}
