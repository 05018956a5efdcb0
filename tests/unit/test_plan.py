"""Which worker fits which maps: all maps once, sources together, equal loads, no more at once than there is room."""

from itertools import chain

import hypothesis.strategies as st
from hypothesis import given
from hypothesis import settings as limits

from jobs.fitting.plan import bytes_of, group, share_out
from lib.experiment.settings import FitSettings
from lib.experiment.variants import MapKey, Variant

SIZES = {"a": 4, "b": 8, "c": 8, "d": 16}
KEYS = [MapKey(s, t, Variant("affine", seed=seed)) for s in SIZES for t in SIZES if s != t for seed in (0, 1)]


@limits(deadline=None)
@given(st.lists(st.sampled_from(KEYS), unique=True, min_size=1), st.integers(1, 5))
def test_each_map_is_in_one_share_and_sources_stay_together(keys: list[MapKey], teams: int) -> None:
    shares = share_out(keys, SIZES, teams)
    assert sorted(map(str, chain(*shares))) == sorted(map(str, keys))
    sources = [key.source for key in chain(*shares)]
    assert sources == sorted(sources)


def test_shares_cost_about_the_same() -> None:
    loads = [sum(SIZES[key.source] * SIZES[key.target] for key in share) for share in share_out(KEYS, SIZES, 3)]
    assert max(loads) - min(loads) <= 2 * max(SIZES.values()) * 8


def test_maps_at_once_have_one_source_seed_iteration_and_kind_of_rows_and_fit_in_memory() -> None:
    iterations = {key: 10 for key in KEYS if key.target == "b"}
    streamed = frozenset([("a", "c")])
    groups = list(group(KEYS, iterations, streamed, lambda keys: sum(SIZES[key.target] for key in keys), 24))
    assert sorted(map(str, chain(*groups))) == sorted(map(str, KEYS))
    for keys in groups:
        assert len({(key.source, key.variant.seed, iterations.get(key, 0), key.pair in streamed) for key in keys}) == 1
        assert sum(SIZES[key.target] for key in keys) <= 24
    assert max(map(len, groups)) == 2


def test_a_map_without_room_is_fitted_alone() -> None:
    assert [len(keys) for keys in group(KEYS[:3], {}, frozenset(), lambda keys: 1e9, 1)] == [1, 1, 1]


def test_bytes_are_those_of_maps_rows_and_a_batch() -> None:
    keys = [MapKey("a", target, Variant("affine")) for target in ("b", "d")]
    expected = 4 * (4 * 4 * (8 + 16) + 100 * (4 + 8 + 16) + 10 * (4 + 4 * (8 + 16)))
    assert bytes_of(keys, SIZES, 100, FitSettings(batch_size=10)) == expected
