"""Nothing of the new users, and nothing after the cut, is in what methods are fitted on."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from tests.support.made_up_log import SMALL, made_up

from lorabank import InvalidInputError
from lorabank.evaluation import Log, decayed_contexts
from lorabank.evaluation.settings import EvaluateSettings
from lorabank.evaluation.sources import Dataset
from lorabank.evaluation.splits import Split, make_split, sitting_times
from lorabank.evaluation.views import make_view

MADE = made_up()
TEMPORAL = replace(SMALL, split="temporal")


def rows_of(log: Log) -> set[tuple[int, float]]:
    """(item, time) names a row: all times differ."""
    return set(zip(log.item.tolist(), log.time.tolist(), strict=True))


def same(a: Split, b: Split) -> bool:
    pairs = zip((a.fit, a.choose), (b.fit, b.choose), strict=True)
    return all(np.array_equal(x.item, y.item) and np.array_equal(x.time, y.time) for x, y in pairs)


@pytest.mark.parametrize("settings", [SMALL, TEMPORAL])
def test_the_three_sides_share_no_row(settings: EvaluateSettings) -> None:
    split = make_split(MADE.dataset(), settings, 0)
    sides = [rows_of(side) for side in (split.fit, split.choose, split.new)]
    assert all(sides)
    for one, other in itertools.combinations(sides, 2):
        assert not one & other


def test_users_are_split_and_none_is_lost() -> None:
    split = make_split(MADE.dataset(), SMALL, 0)
    counts = [side.users for side in (split.fit, split.choose, split.new)]
    assert counts == [90, 38, 32]
    assert split.left_out == 0
    assert sum(len(side.item) for side in (split.fit, split.choose, split.new)) == len(MADE.user)


def test_a_temporal_split_sees_nothing_after_its_cut() -> None:
    split = make_split(MADE.dataset(), TEMPORAL, 0)
    assert split.cut is not None
    assert max(split.fit.time.max(), split.choose.time.max()) < split.cut
    assert split.new.time.min() >= split.cut
    starts = np.array([MADE.time[MADE.user == user].min() for user in range(160)])
    assert split.new.users == np.count_nonzero(starts >= split.cut) == 32


def test_what_comes_after_the_cut_changes_nothing_before_it() -> None:
    data = MADE.dataset()
    split = make_split(data, TEMPORAL, 0)
    assert split.cut is not None
    later = data.time >= split.cut
    item = data.item.copy()
    item[later] = np.random.default_rng(1).permutation(item[later])
    other = make_split(replace(data, item=item), TEMPORAL, 0)
    assert same(split, other)
    assert not np.array_equal(split.new.item, other.new.item)


@pytest.mark.parametrize("settings", [TEMPORAL, replace(SMALL, order="sitting")])
def test_what_needs_a_clock_says_so(settings: EvaluateSettings) -> None:
    with pytest.raises(InvalidInputError, match="timestamps"):
        make_split(MADE.dataset(clock=False), settings, 0)


def test_too_few_users_are_refused() -> None:
    data = made_up(users=60).dataset()
    data.liked[data.user < 5] = False
    data.reading.skip("no user_id", 1200)
    data.reading.repeated = 7
    with pytest.raises(InvalidInputError, match="new users: got 12") as caught:
        make_split(data, SMALL, 0)
    said = str(caught.value)
    assert "60 users, 55 of them with two likes" in said
    rows = f"1,200 of its {data.reading.rows:,} rows were left out: 1,200 no user_id"
    assert rows in said
    assert "7 rows repeat" in said


def test_bounds_draw_whole_users_by_the_seed() -> None:
    tight = replace(SMALL, fit_likes=1000, test_events=450)
    splits = [make_split(MADE.dataset(), tight, seed) for seed in (0, 0, 1)]
    assert same(splits[0], splits[1])
    assert not same(splits[0], splits[2])
    assert splits[0].fit.liked.sum() <= 1000
    assert splits[0].left_out > 0
    counts = np.bincount(MADE.user).tolist()
    assert set(np.diff(splits[0].fit.first).tolist()) <= set(counts)


def test_sittings_end_after_an_hour() -> None:
    user = np.array([0, 0, 0, 0, 1])
    time = np.array([9000.0, 0.0, 3000.0, 5000.0, 100.0])
    assert sitting_times(user, time).tolist() == [9000.0, 0.0, 0.0, 0.0, 100.0]


def test_the_order_inside_a_sitting_is_shuffled_and_nothing_else() -> None:
    data = replace(MADE.dataset(), time=MADE.time / 3.0)  # one sitting of each user
    a = make_split(data, replace(SMALL, order="sitting"), 0).new
    b = make_split(data, SMALL, 0).new
    assert not np.array_equal(a.item, b.item)
    for first, last in zip(a.first[:-1], a.first[1:], strict=True):
        assert sorted(a.item[first:last]) == sorted(b.item[first:last])


def test_a_view_holds_the_contexts_that_the_library_defines() -> None:
    log = make_split(MADE.dataset(), SMALL, 0).new
    view = make_view(log, MADE.vectors, window=5, decay=0.8, most=9)
    plain = decayed_contexts(log, MADE.vectors, decay=0.8, window=5)
    first = plain.where(plain.number < 9)
    np.testing.assert_allclose(view.events.x, first.x, atol=1e-6)
    for name in ("user", "target", "seen", "number", "time"):
        np.testing.assert_array_equal(getattr(view.events, name), getattr(first, name))
    other = decayed_contexts(log, MADE.vectors, decay=0.5, window=5)
    np.testing.assert_allclose(view.contexts(0.5), other.where(other.number < 9).x, atol=1e-6)


def test_recent_items_are_the_likes_before_newest_first() -> None:
    log = make_split(MADE.dataset(), SMALL, 0).new
    view = make_view(log, MADE.vectors, window=4, decay=0.8)
    for event in range(0, len(view), 7):
        user, seen = view.events.user[event], view.events.seen[event]
        rows = range(log.first[user], log.first[user] + seen)
        likes = [int(log.item[row]) for row in rows if log.liked[row]][::-1][:4]
        assert view.recent[event].tolist() == likes + [-1] * (4 - len(likes))


def test_datasets_need_not_number_users_without_gaps() -> None:
    data = MADE.dataset()
    sparse: Dataset = replace(data, user=(data.user * 3 + 5).astype(np.int32))
    assert same(make_split(data, SMALL, 0), make_split(sparse, SMALL, 0))
