"""Batches: rows of both networks belong together, each row comes equally often, a restored source goes on."""

from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest
import torch

from lib.maps.batches import WHOLE, Block, ResidentRows, Share, StreamedRows

CPU = torch.device("cpu")


def numbered(n: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Rows that say which they are, the targets' by their direction alone."""
    count = torch.arange(float(n))[:, None]
    return count.repeat(1, 3), [torch.cat([-count, torch.ones(n, width)], 1) for width in (1, 2)]


def check_together(x: torch.Tensor, targets: list[torch.Tensor]) -> None:
    """These are rows of `numbered`, the targets' beside the source's and at unit length."""
    for y in targets:
        torch.testing.assert_close(y[:, 0] / y[:, -1], -x[:, 0])
        torch.testing.assert_close(torch.linalg.vector_norm(y, dim=1), torch.ones(len(y)))


def test_rows_belong_together_and_come_equally_often() -> None:
    rows = ResidentRows(*numbered(10), seed=0)
    x, targets = rows.draw(20_000)
    assert x.shape == (20_000, 3)
    check_together(x, targets)
    shares = torch.bincount(x[:, 0].long(), minlength=10) / 20_000
    torch.testing.assert_close(shares, torch.full((10,), 0.1), atol=0.02, rtol=0)


def test_features_are_left_as_they_are_unless_they_may_be_scaled_where_they_lie() -> None:
    (X, targets), (_, untouched) = numbered(10), numbered(10)
    copied = ResidentRows(X, targets, seed=0).draw(5)[1]
    scaled_in_place = [Y.clone() for Y in targets]
    assert all(map(torch.equal, targets, untouched))
    scaled = ResidentRows(X, scaled_in_place, seed=0, inplace=True)
    assert [Y.data_ptr() for Y in scaled.targets] == [Y.data_ptr() for Y in scaled_in_place]
    assert all(map(torch.equal, scaled.draw(5)[1], copied))


def test_a_restored_source_goes_on() -> None:
    rows, other = (ResidentRows(*numbered(1000), seed=seed) for seed in (1, 2))
    rows.draw(5)
    other.restore(rows.state())
    assert torch.equal(rows.draw(50)[0], other.draw(50)[0])


def test_features_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(4, 2\)"):
        ResidentRows(torch.ones(3, 2), [torch.ones(3, 1), torch.ones(4, 2)], seed=0)


def test_workers_shares_are_the_whole_batch() -> None:
    whole = ResidentRows(*numbered(1000), seed=3).draw(11)[0]
    shares = [ResidentRows(*numbered(1000), seed=3, share=Share(rank, 3)).draw(11)[0] for rank in range(3)]
    assert torch.equal(torch.cat(shares), whole)
    assert {len(share) for share in shares} == {3, 4}


def blocks(first: int = 0, size: int = 7) -> Iterator[Block]:
    """An endless stream of rows that say which they are."""
    for start in count(first, size):
        x, targets = numbered(start + size)
        yield [features[start:].numpy().astype("f2") for features in (x, *targets)]


def streamed(pool: int, share: Share = WHOLE, seed: int = 0) -> StreamedRows:
    return StreamedRows(lambda drawn: blocks(1000 * drawn), pool, CPU, seed, share)


def test_streamed_rows_come_once_each_in_random_order() -> None:
    rows = streamed(pool=50)
    batches = [rows.draw(8) for _ in range(100)]
    x = torch.cat([x for x, _ in batches])
    for batch in batches:
        check_together(*batch)
    assert x.dtype == torch.float32
    drawn = x[:, 0].long().tolist()
    assert len(set(drawn)) == 800, "none twice"
    assert max(drawn) < 850, "what isn't drawn yet is in the pool"
    late = np.array(drawn) - np.arange(800)
    assert abs(np.corrcoef(drawn[:40], np.arange(40))[0, 1]) < 0.6, "the first are drawn from the whole pool"
    assert late.std() > 10
    assert set(range(700)) <= set(drawn), "none waits for long"


def test_streamed_rows_need_a_pool_of_at_least_a_batch() -> None:
    streamed(pool=8).draw(8)
    with pytest.raises(ValueError, match="at most 8 rows, the pool's, got 9"):
        streamed(pool=8).draw(9)


def test_a_restored_stream_begins_where_its_state_says() -> None:
    rows, other = streamed(50), streamed(50)
    for _ in range(3):
        rows.draw(8)
    other.restore(rows.state())
    x, _ = other.draw(8)
    assert 3000 <= float(x.min()) <= float(x.max()) < 3060


def test_a_state_of_the_other_source_is_refused() -> None:
    resident = ResidentRows(*numbered(10), seed=0)
    with pytest.raises(ValueError, match=r'fit\.rows = "resident"'):
        streamed(50).restore(resident.state())
    with pytest.raises(ValueError, match=r'fit\.rows = "streamed"'):
        resident.restore(streamed(50).state())


def test_workers_draw_their_shares_from_streams_of_their_own() -> None:
    assert [len(streamed(50, Share(rank, 3)).draw(11)[0]) for rank in range(3)] == [3, 4, 4]
    firsts = [streamed(50, Share(rank, 2)).draw(40)[0] for rank in range(2)]
    assert not torch.equal(*firsts)
