"""Counting pairs and scoring with them, against the plainest code that could be right."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabank.config import NeighbourConfig
from lorabank.errors import InvalidInputError
from lorabank.population import ItemToItem, counting, recent_likes
from lorabank.population.counting import PairCounts, count_pairs
from lorabank.population.neighbours import _blocks
from lorabank.population.tabling import TableChoice, build_table

N = 12
DECAYS = (0.5, 0.9)
laws = settings(max_examples=40, deadline=None, derandomize=True)


def a_log(seed: int, users: int = 15) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, users)
    user = np.repeat(np.arange(users) * 3 + 1, lengths)
    return user, rng.integers(N, size=len(user))


def by_hand(
    user: np.ndarray, item: np.ndarray, reach: int, min_users: int
) -> dict[tuple[int, int], list[float]]:
    """(a, b) -> weights of "b after a" for each decay, of pairs with enough users."""
    closest: dict[tuple[int, int, int], int] = {}
    for i in range(len(user)):
        for j in range(i + 1, min(i + reach + 1, len(user))):
            if user[i] == user[j] and item[i] != item[j]:
                key = (int(item[i]), int(item[j]), int(user[i]))
                closest[key] = min(closest.get(key, 10**9), j - i)
    people: dict[frozenset[int], set[int]] = defaultdict(set)
    for a, b, who in closest:
        people[frozenset((a, b))].add(who)
    found: dict[tuple[int, int], list[float]] = defaultdict(lambda: [0.0] * len(DECAYS))
    for (a, b, _), distance in closest.items():
        if len(people[frozenset((a, b))]) >= min_users:
            for k, decay in enumerate(DECAYS):
                found[a, b][k] += decay ** (distance - 1)
    return found


def as_pairs(counts: PairCounts) -> dict[tuple[int, int], list[float]]:
    found = {}
    for i, (low, high) in enumerate(zip(counts.low.tolist(), counts.high.tolist(), strict=True)):
        for a, b, sums in ((low, high, counts.rising), (high, low, counts.falling)):
            if sums[:, i].any():
                found[a, b] = sums[:, i].tolist()
    return found


@laws
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 5))
def test_counts_are_those_of_the_plain_loop(seed: int, reach: int, min_users: int) -> None:
    user, item = a_log(seed)
    counts = count_pairs(user, item, N, reach=reach, decays=DECAYS, min_users=min_users).common()
    expected = by_hand(user, item, reach, min_users)
    got = as_pairs(counts)
    assert got.keys() == expected.keys()
    for pair, weights in expected.items():
        assert got[pair] == pytest.approx(weights)
    assert (counts.low < counts.high).all()


def test_counting_in_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    user, item = a_log(5, users=40)
    whole = count_pairs(user, item, N, reach=5, decays=DECAYS, min_users=2).common()
    monkeypatch.setattr(counting, "CHUNK", 30)
    parts = count_pairs(user, item, N, reach=5, decays=DECAYS, min_users=2).common()
    np.testing.assert_array_equal(parts.low, whole.low)
    np.testing.assert_array_equal(parts.high, whole.high)
    np.testing.assert_allclose(parts.rising, whole.rising)
    np.testing.assert_allclose(parts.falling, whole.falling)


def test_one_persons_repetitions_count_once_and_are_no_crowd() -> None:
    user = np.zeros(40, np.int64)
    item = np.tile([3, 4], 20)
    few = count_pairs(user, item, N, reach=5, decays=(0.5,), min_users=2)
    assert len(few.common().low) == 0
    alone = count_pairs(user, item, N, reach=5, decays=(0.5,), min_users=1).common()
    assert as_pairs(alone) == {(3, 4): [1.0], (4, 3): [1.0]}


def test_the_closest_occurrence_counts_although_rare_items_lie_between() -> None:
    a, b, c, rare = 0, 1, 2, 3
    item = np.array([a, rare, rare, rare, b, a, c, b, c, b, a])
    user = np.array([0] * 8 + [1] * 3)
    counts = count_pairs(user, item, N, reach=8, decays=(0.5,), min_users=2)
    assert as_pairs(counts)[a, b] == [0.5], "two likes apart"


@pytest.mark.parametrize("users", [4, 5])
def test_a_pair_needs_enough_distinct_users_in_either_order(users: int) -> None:
    user = np.repeat(np.arange(users), 2)
    item = np.array([[0, 1], [1, 0], [0, 1], [1, 0], [0, 1]][:users]).ravel()
    counts = count_pairs(user, item, N, reach=5, decays=(0.5,), min_users=5).common()
    assert len(counts.low) == (users == 5)


def table_of(seed: int, choice: TableChoice, **changes: Any) -> tuple[PairCounts, ItemToItem]:
    user, item = a_log(seed)
    counts = count_pairs(user, item, N, reach=8, decays=DECAYS, min_users=1).common()
    return counts, build_table(counts, choice, NeighbourConfig(decays=DECAYS, **changes))


def dense(table: ItemToItem) -> np.ndarray:
    matrix = np.zeros((len(table), len(table)))
    for a in range(len(table)):
        row = slice(table.starts[a], table.starts[a + 1])
        matrix[a, table.items[row]] = table.weights[row]
    return matrix


@pytest.mark.parametrize(
    "choice", [TableChoice(), TableChoice(1, 0.0, 1.0, 1.0, 3.0), TableChoice(0, 1.0, 1.0, 0.5)]
)
def test_the_table_is_the_normalised_counts(choice: TableChoice) -> None:
    counts, table = table_of(3, choice)
    weights = as_pairs(counts)
    expected = np.zeros((N, N))
    for a in range(N):
        for b in range(N):
            forward = weights.get((a, b), [0.0] * 2)[choice.decay]
            back = weights.get((b, a), [0.0] * 2)[choice.decay]
            norm = (
                max(counts.likes[a], 1) ** choice.source * max(counts.likes[b], 1) ** choice.target
            )
            expected[a, b] = (forward + choice.backward * back) / norm
    expected /= choice.scale * np.median(expected[expected > 0])
    np.testing.assert_allclose(dense(table), expected, rtol=1e-5)
    assert table.decay == DECAYS[choice.decay]


def test_the_strongest_of_each_row_are_kept_within_the_bytes() -> None:
    _, whole = table_of(3, TableChoice())
    _, few = table_of(3, TableChoice(), per_item=3)
    room = 8 * (N + 1) + 8 * 20
    _, small = table_of(3, TableChoice(), max_bytes=room)
    full = dense(whole)
    assert small.nbytes <= room < whole.nbytes
    assert len(small.items) == 20
    for table, most in ((few, 3), (small, N)):
        for row, kept in zip(full, dense(table), strict=True):
            count = np.count_nonzero(kept)
            assert count <= most
            assert set(kept[kept > 0]) == set(np.sort(row)[::-1][:count])
    rows = np.diff(small.starts)
    assert rows.max() - rows[np.diff(whole.starts) > 2].min() <= 1, "cut evenly"


@laws
@given(st.integers(0, 10**6), st.booleans())
def test_scores_are_the_decayed_sum_of_rows(seed: int, some: bool) -> None:
    rng = np.random.default_rng(seed)
    _, table = table_of(seed % 100, TableChoice())
    recent = rng.integers(-1, N, (6, 25))
    candidates = rng.permutation(N)[:5] if some else None
    got = table.scores(recent, candidates)
    expected, matrix = np.zeros((6, N)), dense(table)
    for i in range(6):
        for age in range(20):
            if recent[i, age] >= 0:
                expected[i] += table.decay**age * matrix[recent[i, age]]
    np.testing.assert_allclose(
        got, expected if candidates is None else expected[:, candidates], rtol=1e-4, atol=1e-6
    )
    assert got.dtype == np.float32


@laws
@given(st.integers(0, 10**6), st.integers(0, 6))
def test_candidates_score_as_among_all_items(seed: int, count: int) -> None:
    """To the bit, though each recent item's neighbours are looked for once: rows share them."""
    rng = np.random.default_rng(seed)
    _, table = table_of(seed % 100, TableChoice())
    history = rng.integers(-1, N, 26)
    recent = np.lib.stride_tricks.sliding_window_view(history, 21)
    candidates = rng.permutation(N)[:count]
    whole = table.scores(recent)
    np.testing.assert_array_equal(table.scores(recent, candidates), whole[:, candidates])


def test_scores_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    _, table = table_of(1, TableChoice())
    recent = np.random.default_rng(0).integers(-1, N, (9, 20))
    np.testing.assert_array_equal(table.log_scores(recent), np.log1p(table.scores(recent)))
    whole = table.scores(recent)
    monkeypatch.setattr("lorabank.population.neighbours.BLOCK", 2 * N)
    np.testing.assert_array_equal(table.scores(recent), whole)


def test_a_block_gathers_few_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few candidates there are, and so many users to a block."""
    _, table = table_of(1, TableChoice())
    recent, sizes = np.random.default_rng(0).integers(0, N, (50, 20)), []
    inner = ItemToItem._gathered

    def gathered(self: ItemToItem, *arguments: Any) -> Any:
        found = inner(self, *arguments)
        sizes.append((len(arguments[0]), len(found[0])))
        return found

    monkeypatch.setattr(ItemToItem, "_gathered", gathered)
    table.scores(recent, np.array([3]))
    (whole,) = sizes
    most = whole[1] // 5
    monkeypatch.setattr("lorabank.population.neighbours.BLOCK", most)
    sizes.clear()
    table.scores(recent, np.array([3]))
    assert sum(users for users, _ in sizes) == 50
    assert sum(count for _, count in sizes) == whole[1]
    assert max(count for _, count in sizes) <= most


@pytest.mark.parametrize("width", [40, 60, 200])
def test_a_block_has_few_places(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr("lorabank.population.neighbours.BLOCK", 100)
    entries = np.array([0, 0, 30, 90, 10, 300, 0])
    found = list(_blocks(entries, width))
    assert [start for start, _ in found] == [0, *(stop for _, stop in found[:-1])]
    assert found[-1][1] == len(entries)
    for start, stop in found:
        cost = np.maximum(entries[start:stop], width).sum()
        assert cost <= 100 or stop == start + 1
    assert len(found) < len(entries) or width > 50
    assert list(_blocks(entries[:0], width)) == []


@pytest.mark.parametrize("recent", [[[N]], [[-2]]])
def test_positions_outside_the_table_are_refused(recent: list[list[int]]) -> None:
    _, table = table_of(1, TableChoice())
    with pytest.raises(InvalidInputError, match="recent"):
        table.scores(np.array(recent))
    with pytest.raises(InvalidInputError, match="candidates"):
        table.scores(np.array([[0]]), np.array([N]))


def test_nothing_recent_scores_nothing() -> None:
    _, table = table_of(1, TableChoice())
    assert not table.scores(np.full((2, 20), -1)).any()
    assert table.scores(np.zeros((0, 20), np.int64)).shape == (0, N)


def test_recent_likes_are_the_users_own_newest_first_and_strictly_earlier() -> None:
    user = np.array([0, 0, 0, 0, 2, 2])
    item = np.array([5, 6, 7, 8, 9, 1])
    liked = np.array([True, False, True, True, True, True])
    got = recent_likes(user, item, liked, np.arange(6), 2)
    assert got.tolist() == [[-1, -1], [5, -1], [5, -1], [7, 5], [-1, -1], [9, -1]]
    nobody = recent_likes(user, item, np.zeros(6, np.bool_), np.arange(6), 2)
    assert (nobody == -1).all()
