"""Trials as columns: exact, caught up, bounded, and read in the background where they are many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorabank.types.pattern import ArmOutcome, Pattern, TrialOutcome
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank.types.trials import Trials
from lorabank_faiss import FaissStore, Settings, open_store, trials
from lorabank_faiss.tending import Tender
from tests.faiss.samples import NAMESPACE, pattern, vector

pytestmark = pytest.mark.anyio
TRIED = PatternFilter(has_trial=True)
MOST = 1 << 20


def tried(number: int, **given: Any) -> Pattern:
    arms = tuple(ArmOutcome("steps", 2.0 + arm, 0.1 * number) for arm in range(number % 3))
    trial = TrialOutcome(0.4, 0.5, 1.0 + number, 4, arms)
    return pattern(f"t{number:06}", number, trial=trial, user_key=f"u{number % 7}", **given)


def told(found: Trials) -> list[Any]:
    arms = [found.choices[arm] for arm in found.arm.tolist()]
    return [list(found.ids), found.facts.tolist(), arms, found.loss.tolist()]


async def check(store: FaissStore, count: int) -> None:
    """As columns there are the same as in a search, and so many."""
    for where in (EVERYTHING, PatternFilter(exclude_user_key="u1")):
        for k in (5, MOST):
            tested = PatternFilter(exclude_user_key=where.exclude_user_key, has_trial=True)
            matches = await store.search(NAMESPACE, vector(3), k, tested)
            found = await store.search_trials(NAMESPACE, vector(3), k, where)
            assert told(found) == told(Trials.of_matches(matches))
            if where == EVERYTHING:
                assert len(found) == min(k, count)


def table(store: FaissStore) -> trials.TrialTable | None:
    return store._database.shards.of(NAMESPACE).trials._table


@pytest.mark.parametrize("flat_limit", [1000, 20])
async def test_two_stores_agree_after_every_change(tmp_path: Path, flat_limit: int) -> None:
    settings = Settings(tmp_path, flat_limit=flat_limit, tail_limit=5)
    async with open_store(settings) as one, open_store(settings) as other:
        await one.put_many([tried(n) for n in range(60)] + [pattern("plain", 1)])
        await other.settle()
        for store in (one, other):
            await check(store, 60)
        await other.delete(NAMESPACE, PatternFilter(since=1050.0))
        await other.put_many([tried(100), tried(7, task="changed"), pattern("t000008", 8)])
        for store in (one, other):
            await check(store, 50)
            assert table(store) is not None
        await one.delete(NAMESPACE, EVERYTHING)
        await check(other, 0)


async def test_many_are_read_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_MOST_TRIALS", 10)
    monkeypatch.setattr(trials, "_MOST_CHANGES", 10)
    async with open_store(Settings(tmp_path)) as store:
        await store.put_many([tried(n) for n in range(30)])
        await check(store, 30)
        await store.settle()
        first = table(store)
        assert first is not None
        await store.put_many([tried(30)])
        await check(store, 31)
        assert table(store) is first
        await store.put_many([tried(n) for n in range(31, 60)])
        await check(store, 60)  # by searches: it is behind
        await store.settle()
        assert table(store) is not first
        await check(store, 60)


@pytest.mark.parametrize("flat_limit", [1000, 20])
async def test_those_that_are_not_in_memory_are_found_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flat_limit: int
) -> None:
    """Also where several are equally near."""
    monkeypatch.setattr(trials, "_MOST_TRIALS", 0)
    monkeypatch.setattr(Tender, "read_trials", lambda _: None)
    async with open_store(Settings(tmp_path, flat_limit=flat_limit, tail_limit=5)) as store:
        await store.put_many([tried(n) for n in range(80)])
        await store.put_many([replace(tried(n), id=f"same{n:03}") for n in range(79, -1, -1)])
        await store.settle()
        await check(store, 160)
        assert table(store) is None


async def test_what_takes_too_much_memory_is_not_kept(tmp_path: Path) -> None:
    async with open_store(Settings(tmp_path, cache_mb=1)) as store:
        wide = [tried(n, context=np.tile(vector(n), 128)) for n in range(90)]  # 8 kB each
        await store.put_many(wide)
        query = np.tile(vector(3), 128)
        index = store._database.shards.of(NAMESPACE).trials
        index.wanted = True
        await store.settle()
        assert table(store) is None
        assert len(await store.search_trials(NAMESPACE, query, MOST, EVERYTHING)) == 90


async def test_a_worn_table_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_DEAD", 5)
    async with open_store(Settings(tmp_path)) as store:
        await store.put_many([tried(n) for n in range(40)])
        await check(store, 40)
        await store.delete(NAMESPACE, PatternFilter(since=1010.0))
        await check(store, 10)
        await store.put_many([tried(90)])
        await check(store, 11)
        found = table(store)
        assert found is not None
        assert len(found.contents.rows) == 11
