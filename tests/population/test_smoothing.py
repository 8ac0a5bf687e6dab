"""The factorisation of pair counts: right about what is common, silent about single users."""

from __future__ import annotations

import numpy as np
import pytest

from lorabank.errors import InvalidInputError
from lorabank.population import smoothing
from lorabank.population.counting import PairCounts, count_pairs
from lorabank.population.neighbours import ItemToItem
from lorabank.population.smoothing import factorise
from lorabank.population.tabling import Factoriser, TableChoice, build_table
from lorabank.population_config import NeighbourConfig
from lorabank.types.arrays import IntArray

ITEMS, GROUPS, LIKES = 240, 4, 12
ONLY = NeighbourConfig(decays=(1.0,))


def tastes(users: int = 150, seed: int = 0) -> tuple[IntArray, IntArray]:
    """Users who each like items of one of four kinds: most pairs of a kind are rare."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(GROUPS, size=users)
    draw = [rng.permutation(ITEMS // GROUPS)[:LIKES] * GROUPS + k for k in kind]
    return np.repeat(np.arange(users), LIKES), np.concatenate(draw)


def counted(user: IntArray, item: IntArray) -> PairCounts:
    return count_pairs(user, item, ITEMS, reach=LIKES, decays=(1.0,), min_users=5)


def values(counts: PairCounts, rank: int) -> np.ndarray:
    factors = factorise(counts, 0, 1.0, rank)
    assert factors is not None
    a, b, value = factors.strongest(ITEMS)
    matrix = np.zeros((ITEMS, ITEMS))
    matrix[a, b] = value
    return matrix


def test_it_is_the_truncated_svd_of_the_cosines() -> None:
    counts = counted(*tastes())
    kept = np.flatnonzero(counts.likes >= 5)
    cosines = np.zeros((ITEMS, ITEMS))
    both = (counts.rising + counts.falling)[0] / np.sqrt(
        counts.likes[counts.low] * counts.likes[counts.high]
    )
    cosines[counts.low, counts.high] = cosines[counts.high, counts.low] = both
    U, s, Vt = np.linalg.svd(cosines[np.ix_(kept, kept)])
    best = np.zeros((ITEMS, ITEMS))
    best[np.ix_(kept, kept)] = (U[:, :GROUPS] * s[:GROUPS]) @ Vt[:GROUPS]
    np.fill_diagonal(best, 0.0)
    np.testing.assert_allclose(values(counts, GROUPS), np.maximum(best, 0.0), atol=1e-3)


def test_pairs_of_a_kind_are_found_that_hardly_anybody_had() -> None:
    counts = counted(*tastes())
    assert len(counts.common().low) < 0.1 * len(counts.low), "nearly all pairs are rare"
    table = build_table(counts, TableChoice(backward=1.0, rank=GROUPS), ONLY)
    source = np.repeat(np.arange(ITEMS), np.diff(table.starts))
    same = source % GROUPS == table.items % GROUPS
    assert table.weights[same].sum() > 0.98 * table.weights.sum()
    liked = int((counts.likes >= 5).sum())
    assert same.sum() > 0.9 * liked * (liked / GROUPS - 1), "every pair of a kind has a weight"


def test_what_enough_users_had_weighs_at_least_its_count() -> None:
    counts = counted(*tastes())
    exact = build_table(counts, TableChoice(backward=1.0), ONLY)
    both = build_table(counts, TableChoice(backward=1.0, rank=GROUPS), ONLY)

    def weight_of(table: ItemToItem, a: int, b: int) -> float:
        row = slice(both.starts[a], both.starts[a + 1])
        return float(both.weights[row][both.items[row] == b][0])

    ratios = []
    for a in range(ITEMS):
        row = slice(exact.starts[a], exact.starts[a + 1])
        for b, weight in zip(exact.items[row], exact.weights[row], strict=True):
            ratios.append(weight_of(both, a, int(b)) / float(weight))
    # The medians differ, so one factor is between the two tables.
    assert min(ratios) == pytest.approx(np.median(ratios), rel=0.3)


def test_nobodys_single_pair_can_be_read_from_it() -> None:
    user, item = tastes()
    other = np.array([0, 1])  # two kinds that nobody else has together
    who = np.append(user, [user.max() + 1] * 2)
    counts = counted(who, np.append(item, other))
    mine = np.flatnonzero((counts.low == 0) & (counts.high == 1))
    assert counts.users[mine].tolist() == [1]
    shown = 1.0 / np.sqrt(counts.likes[0] * counts.likes[1])
    with_me, without_me = values(counts, GROUPS)[0, 1], values(counted(user, item), GROUPS)[0, 1]
    assert abs(with_me - without_me) < 0.1 * shown


def test_too_few_items_for_the_rank_leave_the_counts_alone() -> None:
    counts = counted(*tastes())
    rank = ITEMS // smoothing.ITEMS_PER_DIMENSION + 1
    assert factorise(counts, 0, 1.0, rank) is None
    plain, same = (build_table(counts, TableChoice(rank=r), ONLY) for r in (0, rank))
    np.testing.assert_array_equal(plain.weights, same.weights)


def test_of_many_items_those_liked_most_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = counted(*tastes())
    monkeypatch.setattr(smoothing, "MOST_ITEMS", 100)
    factors = factorise(counts, 0, 1.0, GROUPS)
    assert factors is not None
    assert len(factors.items) == 100
    left_out = np.setdiff1d(np.arange(ITEMS), factors.items)
    assert counts.likes[factors.items].min() >= counts.likes[left_out].max()


def test_factors_are_made_once_for_all_tables_of_the_same_counts() -> None:
    factoriser = Factoriser(counted(*tastes()))
    first = factoriser.factors(TableChoice(rank=GROUPS))
    assert factoriser.factors(TableChoice(rank=GROUPS, source=1.0, scale=3.0)) is first
    assert factoriser.factors(TableChoice(rank=GROUPS, backward=1.0)) is not first
    assert factoriser.factors(TableChoice()) is None


def test_a_rank_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"neighbours\.ranks"):
        NeighbourConfig(ranks=(0,))
