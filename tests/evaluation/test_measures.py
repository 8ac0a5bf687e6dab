"""Measures against cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.made_up_log import SMALL, made_up

from lorabank.evaluation.measures.compare import draw
from lorabank.evaluation.measures.curves import (
    by_event,
    choose_horizon,
    first_crossing,
    smooth,
    updates_to_target,
)
from lorabank.evaluation.measures.events import measure
from lorabank.evaluation.measures.harm import LEVEL, harm
from lorabank.evaluation.splits import make_split
from lorabank.evaluation.views import make_view

RNG = np.random.default_rng(7)


def test_rank_and_likelihood_by_brute_force() -> None:
    made = made_up(users=110)
    log = make_split(made.dataset(), SMALL, 0).new
    view = make_view(log, made.vectors, window=5, decay=0.8)
    table = RNG.integers(0, 6, (len(view), 80)).astype(np.float32)  # many ties
    scores = measure(view, lambda rows: table[rows].copy())
    for event in range(0, len(view), 11):
        user, seen = view.events.user[event], view.events.seen[event]
        had = set(log.item[log.first[user] : log.first[user] + seen].tolist())
        target = int(view.events.target[event])
        offered = [item for item in range(80) if item not in had or item == target]
        values = table[event, offered].astype(np.float64)
        mine = float(table[event, target])
        rank = 1 + np.sum(values > mine) + (np.sum(values == mine) - 1) / 2
        assert scores.rank[event] == rank
        nll = np.log(np.exp(values - mine).sum())
        assert scores.nll[event] == pytest.approx(nll, rel=1e-5)


def test_measuring_some_events_is_measuring_them_among_all() -> None:
    made = made_up(users=110)
    log = make_split(made.dataset(), SMALL, 0).new
    view = make_view(log, made.vectors, window=5, decay=0.8)
    table = RNG.standard_normal((len(view), 80)).astype(np.float32)
    rows = np.arange(3, len(view), 5)
    some, whole = (measure(view, lambda r: table[r].copy(), part) for part in (rows, None))
    np.testing.assert_array_equal(some.rank, whole.rank[rows])


def test_an_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    covered = 0
    for trial in range(200):
        values = np.random.default_rng(trial).normal(1.0, 2.0, 60)
        found = draw(np.arange(60), 300, seed=trial).mean(values)
        covered += found.lower <= 1.0 <= found.upper
    assert 0.88 <= covered / 200 <= 0.99


def test_a_user_who_is_in_two_seeds_is_drawn_with_both() -> None:
    values = RNG.normal(0, 1, 50)
    one = draw(np.arange(50), 4000).mean(values)
    doubled = draw(np.tile(np.arange(50), 2), 4000).mean(np.tile(values, 2))
    assert doubled.upper - doubled.lower == pytest.approx(one.upper - one.lower, rel=0.1)


def test_relative_and_difference_of_known_values() -> None:
    draws = draw(np.arange(4), 100)
    theirs = np.array([1.0, 2.0, 3.0, 4.0])
    relative = draws.relative(1.5 * theirs, theirs)
    assert (relative.mean, relative.lower, relative.upper) == pytest.approx((0.5, 0.5, 0.5))
    assert draws.difference(theirs + 2, theirs).lower == pytest.approx(2.0)
    assert draws.relative(theirs, 0 * theirs).mean == 0.0


def test_smoothing_is_a_trailing_mean() -> None:
    curve = np.arange(30.0)
    found = smooth(curve)
    assert found[0] == 0.0
    assert found[4] == 2.0
    assert found[29] == np.mean(curve[20:])


@pytest.mark.parametrize(
    ("curve", "crossing"),
    [
        ([5, 4, 3, 2, 1, 0], 3),
        ([1, 5, 5, 5, 1, 1], 4),
        ([5, 1, 5, 1, 5, 1], 5),
        ([5, 5, 5, 5, 5, 5], 6),
        ([0, 0, 0, 0, 0, 0], 0),
    ],
)
def test_a_crossing_has_to_last(curve: list[float], crossing: int) -> None:
    assert first_crossing(np.array([curve], float), np.array([2.0])).tolist() == [crossing]


def test_a_crossing_that_lasts_ten_events_may_be_lost_again() -> None:
    curve = np.array([[9.0] * 5 + [0.0] * 10 + [9.0] * 5])
    assert first_crossing(curve, np.array([1.0])).tolist() == [5]
    assert first_crossing(curve[:, 1:14], np.array([1.0])).tolist() == [4]


def test_twice_as_fast_needs_half_the_events() -> None:
    time = np.arange(50.0)
    reference = np.tile(5 - 0.04 * time, (40, 1)) + RNG.normal(0, 0.01, (40, 50))
    ours = np.tile(5 - 0.08 * time, (40, 1)) + RNG.normal(0, 0.01, (40, 50))
    draws = draw(np.arange(40), 200)
    found = updates_to_target(ours, reference, draws)
    assert found.reached
    assert found.against.lower <= 0.45 <= found.against.upper + 0.05
    assert updates_to_target(reference, reference, draws).against.mean == 0.0
    worse = updates_to_target(reference + 9, reference, draws)
    assert not worse.reached
    assert worse.events.mean == 50


def test_the_cohort_is_the_same_at_every_event() -> None:
    user = np.repeat([0, 1, 2], [5, 3, 6])
    number = np.concatenate([np.arange(5), np.arange(3), np.arange(6)])
    table = by_event(user * 10.0 + number, user, number, 5)
    assert table.tolist() == [[0, 1, 2, 3, 4], [20, 21, 22, 23, 24]]


def test_horizons_need_users() -> None:
    assert choose_horizon(np.array([60] * 30), 50) == 50
    assert choose_horizon(np.array([60] * 19 + [30] * 30), 50) == 25
    assert choose_horizon(np.array([60] * 30 + [12] * 170), 50) == 10
    assert choose_horizon(np.array([60] * 30), 10) == 10
    assert choose_horizon(np.array([2] * 3), 50) == 5


def test_chance_alone_harms_hardly_more_than_the_level() -> None:
    user = np.repeat(np.arange(1500), 20)
    loss = np.random.default_rng(3).normal(0, 1, len(user))
    found = harm(loss, user, draw(np.arange(1500), 300))
    assert found.tested == 1500
    assert abs(found.excess.mean) < 0.015
    assert found.excess.lower < 0 < found.excess.upper


def test_users_who_are_harmed_are_found() -> None:
    user = np.repeat(np.arange(100), 30)
    loss = np.random.default_rng(3).normal(0, 1, len(user)) - 0.5
    loss[user < 30] += 2.0
    found = harm(loss, user, draw(np.arange(100), 300))
    assert found.share == pytest.approx(0.3, abs=0.02)
    assert found.excess.lower > 0.1
    assert found.mean == pytest.approx(1.5, abs=0.2)
    assert found.worse == pytest.approx(0.3, abs=0.02)


def test_users_with_few_events_are_not_tested() -> None:
    user = np.repeat(np.arange(50), 4)
    found = harm(np.ones(200), user, draw(np.arange(50), 50))
    assert (found.tested, found.share, found.excess.mean) == (0, 0.0, -LEVEL)
    assert found.worse == 1.0
