"""What an event knows: only what happened before it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabank import InvalidInputError
from lorabank.evaluation import Events, Log, decayed_contexts, ordered_log

ITEMS = 12
VECTORS = np.random.default_rng(0).standard_normal((ITEMS, 5)).astype(np.float32)


def random_log(seed: int, users: int = 4, rows: int = 60, *, moments: int = 15) -> Log:
    rng = np.random.default_rng(seed)
    return ordered_log(
        np.r_[np.arange(users), rng.integers(0, users, rows)],
        rng.integers(0, ITEMS, users + rows),
        rng.random(users + rows) < 0.6,
        rng.integers(0, moments, users + rows),
        rng,
    )


def plain_context(log: Log, events: Events, event: int, decay: float, window: int) -> list[float]:
    """Straight from the definition."""
    user, seen = events.user[event], events.seen[event]
    rows = range(log.first[user], log.first[user] + seen)
    likes = [log.item[row] for row in rows if log.liked[row]][::-1][:window]
    total = sum(decay**age * VECTORS[item].astype(np.float64) for age, item in enumerate(likes))
    return list(np.asarray(total) / np.linalg.norm(total))


@given(st.integers(0, 10_000), st.floats(0.3, 1.0), st.integers(1, 8))
def test_contexts_are_decayed_means_of_earlier_likes(seed: int, decay: float, window: int) -> None:
    log = random_log(seed)
    events = decayed_contexts(log, VECTORS, decay=decay, window=window)
    for event in range(len(events)):
        expected = plain_context(log, events, event, decay, window)
        np.testing.assert_allclose(events.x[event], expected, atol=2e-4)


def test_a_long_history_is_cut_into_blocks_without_a_seam() -> None:
    log = random_log(1, users=1, rows=400, moments=400)
    events = decayed_contexts(log, VECTORS, decay=0.9, window=20)
    for event in range(0, len(events), 7):
        expected = plain_context(log, events, event, 0.9, 20)
        np.testing.assert_allclose(events.x[event], expected, atol=2e-4)


@given(st.integers(0, 10_000), st.integers(5, 40))
def test_what_comes_later_changes_nothing(seed: int, cut: int) -> None:
    log = random_log(seed)
    rng = np.random.default_rng(seed)
    item, liked = log.item.copy(), log.liked.copy()
    later = np.arange(len(item)) - log.first[log.user] >= cut
    item[later] = rng.integers(0, ITEMS, later.sum())
    liked[later] = rng.random(later.sum()) < 0.5
    changed = Log(log.user, item, liked, log.time, log.first)
    before = decayed_contexts(log, VECTORS, decay=0.8)
    after = decayed_contexts(changed, VECTORS, decay=0.8)
    same_before, same_after = before.seen < cut, after.seen < cut
    np.testing.assert_array_equal(before.x[same_before], after.x[same_after])
    np.testing.assert_array_equal(before.target[same_before], after.target[same_after])


def test_ties_are_shuffled_by_the_generator_and_times_never_fall() -> None:
    user, item = np.zeros(50, np.int64), np.arange(50)
    time, liked = np.repeat([1.0, 2.0], 25), np.ones(50, np.bool_)
    logs = [ordered_log(user, item, liked, time, np.random.default_rng(s)) for s in (0, 0, 1)]
    np.testing.assert_array_equal(logs[0].item, logs[1].item)
    assert (logs[0].item != logs[2].item).any()
    assert (logs[0].item != item).any(), "file order is the order of the items: a leak"
    for log in logs:
        assert (np.diff(log.time) >= 0).all()
        assert set(log.item[:25]) == set(range(25))


@given(st.integers(0, 10_000))
def test_seen_items_are_all_that_came_before(seed: int) -> None:
    log = random_log(seed)
    events = decayed_contexts(log, VECTORS, decay=0.8)
    event, item = log.seen_items(events.user, events.seen)
    for i in range(len(events)):
        start = log.first[events.user[i]]
        assert list(item[event == i]) == list(log.item[start : start + events.seen[i]])
        assert log.item[start + events.seen[i]] == events.target[i]
        assert log.liked[start + events.seen[i]]


def test_the_first_like_is_no_event_and_numbers_count_from_zero() -> None:
    log = random_log(3)
    events = decayed_contexts(log, VECTORS, decay=0.8)
    for user in range(log.users):
        likes = int(log.liked[log.user == user].sum())
        numbers = events.number[events.user == user]
        np.testing.assert_array_equal(numbers, np.arange(max(likes - 1, 0)))


def test_counts_are_of_the_given_users_alone() -> None:
    log = random_log(4)
    rows = log.liked & np.isin(log.user, [1, 2])
    expected = np.bincount(log.item[rows], minlength=ITEMS)
    np.testing.assert_array_equal(log.counts(np.array([1, 2]), ITEMS), expected)


def test_bad_columns_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InvalidInputError, match="four columns of one length"):
        ordered_log([0, 0], [1], [True], [0.0], rng)
    with pytest.raises(InvalidInputError, match="numbered from 0"):
        ordered_log([], [], [], [], rng)
    with pytest.raises(InvalidInputError, match="numbered from 0"):
        ordered_log([-1], [1], [True], [0.0], rng)
    with pytest.raises(InvalidInputError, match="decay"):
        decayed_contexts(random_log(0), VECTORS, decay=1.5)
    with pytest.raises(InvalidInputError, match="positions below 3"):
        decayed_contexts(random_log(0), VECTORS[:3], decay=0.5)
