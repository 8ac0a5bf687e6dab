"""Nobody new is among the past ones, and nothing that comes later is known before."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.made_up_ratings import ITEMS, USERS, made_up_data

from lorabank import InvalidInputError
from lorabank.demo.protocol import batches_in_time, make_protocol, split_users
from lorabank.demo.settings import DemoSettings
from lorabank.evaluation.sources.movielens import item_text


def test_split_is_80_to_20_without_overlap_and_by_seed() -> None:
    split = split_users(100, seed=3)
    assert (len(split.past), len(split.new)) == (80, 20)
    assert set(split.past) | set(split.new) == set(range(100))
    np.testing.assert_array_equal(split.new, split_users(100, seed=3).new)
    assert set(split.new) != set(split_users(100, seed=4).new)


def test_popularity_is_of_past_users_alone() -> None:
    protocol = make_protocol(made_up_data(), DemoSettings())
    past = np.isin(protocol.log.user, protocol.split.past) & protocol.log.liked
    expected = np.bincount(protocol.log.item[past], minlength=ITEMS)
    np.testing.assert_array_equal(protocol.popularity, expected)


def test_seeds_shuffle_what_happened_at_the_same_time() -> None:
    one, same, other = (
        make_protocol(made_up_data(), DemoSettings(seed=seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one.log.item, same.log.item)
    assert (one.log.item != other.log.item).any()


def test_low_ratings_are_seen_but_not_predicted() -> None:
    protocol = make_protocol(made_up_data(), DemoSettings())
    assert protocol.log.liked.sum() == USERS * 25
    assert len(protocol.events) == USERS * 24
    assert protocol.events.seen.max() > 25


def test_fewer_users_and_fewer_events() -> None:
    settings = DemoSettings(users=60, events_per_user=7)
    protocol = make_protocol(made_up_data(), settings)
    assert protocol.log.users == 60
    assert len(protocol.events) == 60 * 7
    for events in protocol.by_decay.values():
        np.testing.assert_array_equal(events.target, protocol.events.target)
    with pytest.raises(InvalidInputError, match=f"at most {USERS}"):
        make_protocol(made_up_data(), DemoSettings(users=USERS + 1))
    with pytest.raises(InvalidInputError, match="an integer >= 50"):
        DemoSettings(users=3)


def test_batches_come_in_time_order_and_in_order_within_each_user() -> None:
    protocol = make_protocol(made_up_data(), DemoSettings())
    users = protocol.split.new
    batches = batches_in_time(protocol.events, users, 10, seed=0)
    times = [protocol.events.time[batch.rows[-1]] for batch in batches]
    assert times == sorted(times)
    rows = np.concatenate([batch.rows for batch in batches])
    expected = np.flatnonzero(np.isin(protocol.events.user, users))
    np.testing.assert_array_equal(np.sort(rows), expected)
    for user in users:
        own = [batch for batch in batches if batch.user == user]
        assert [batch.number for batch in own] == list(range(len(own)))
        assert all(len(batch.rows) == 10 for batch in own[:-1])


def test_text_of_a_film_with_and_without_a_year() -> None:
    text = item_text("Heat", "Action|Crime", 1995.0)
    assert text == "Heat. genres: Action, Crime. year 1995, 1990s. year 1995"
    assert item_text("?", "Drama", float("nan")) == "?. genres: Drama"
