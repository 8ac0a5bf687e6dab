"""Cache, breaker and replay by themselves."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from tests.engine.banks import FakeTime, make_config, run_updates

from lorabank import Feedback, ReplayConfig, turns, user_key
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank.breaker import CircuitBreaker
from lorabank.cache import TtlCache
from lorabank.population import rows
from lorabank.population.rows import collect_rows
from lorabank.replay import ExperienceReplay
from lorabank.types.batches import Batches
from lorabank.types.values import parts_of

DAY = 86_400.0


def test_the_least_recently_used_goes_first() -> None:
    cache: TtlCache[int] = TtlCache(entries=3, size=100, ttl=10.0, monotonic=lambda: 0.0)
    for key in "abc":
        cache.put(key, ord(key), 10)
    assert cache.get("a") == ord("a")
    cache.put("d", 1, 10)
    assert [key for key in "abcd" if cache.get(key) is not None] == ["a", "c", "d"]


def test_the_cache_counts_bytes() -> None:
    cache: TtlCache[str] = TtlCache(entries=100, size=100, ttl=10.0, monotonic=lambda: 0.0)
    cache.put("a", "a", 60)
    cache.put("b", "b", 30)
    cache.put("a", "again", 50)
    assert (cache.size, len(cache), cache.get("a")) == (80, 2, "again")
    cache.put("c", "c", 90)
    assert (cache.size, len(cache)) == (90, 1)
    cache.put("d", "too large", 101)
    assert (cache.size, cache.get("d"), cache.get("c")) == (90, None, "c")
    cache.put("c", "too large now", 101)
    assert (cache.size, len(cache)) == (0, 0)
    cache.put("e", "e", 1)
    cache.clear()
    assert (cache.size, len(cache), cache.get("e")) == (0, 0, None)


def test_what_is_too_old_is_gone_and_no_longer_counted() -> None:
    time = FakeTime(0.0)
    cache: TtlCache[int] = TtlCache(entries=9, size=9, ttl=10.0, monotonic=time.clock.monotonic)
    cache.put("a", 1, 1)
    time.advance(9.9)
    assert cache.get("a") == 1
    time.advance(0.1)
    assert (cache.get("a"), cache.size, len(cache)) == (None, 0, 0)


def test_the_breaker_opens_after_failures_in_a_row() -> None:
    time = FakeTime(0.0)
    breaker = CircuitBreaker(3, 10.0, time.clock.monotonic)
    for outcome in (breaker.failure, breaker.failure, breaker.success, breaker.failure):
        outcome()
    breaker.failure()
    assert breaker.closed
    breaker.failure()
    assert (breaker.closed, breaker.probing, breaker.remaining) == (False, False, 10.0)
    time.advance(10.0)
    assert (breaker.closed, breaker.probing, breaker.remaining) == (False, True, 0.0)
    breaker.failure()
    assert (breaker.probing, breaker.remaining) == (False, 10.0)
    time.advance(10.0)
    breaker.success()
    assert breaker.closed


def batch(first: float, n: int = 4) -> Feedback:
    x = np.full((n, 2), first, np.float32) + np.arange(n, dtype=np.float32)[:, None]
    return Feedback(x, x)


async def firsts(replay: ExperienceReplay, now: float, user: str = "u") -> list[float]:
    return [float(f.x[0, 0]) for f in (await replay.snapshot(now)).get(user, [])]


async def test_the_replay_keeps_a_users_newest_rows() -> None:
    replay = ExperienceReplay(ReplayConfig(max_rows_per_user=10))
    for i in range(5):
        replay.add("u", batch(100.0 * i), now=float(i))
        replay.add("v", batch(1.0), now=float(i))
    assert await firsts(replay, 5.0) == [300.0, 400.0]
    assert await firsts(replay, 5.0, "v") == [1.0, 1.0]
    replay.add("u", batch(0.0, n=25), now=6.0)
    assert await firsts(replay, 6.0) == [15.0], "of a batch that is too large by itself, too"
    assert replay.size == (10 + 8) * 16
    assert replay.users == 2


async def test_the_replay_is_bounded_in_bytes() -> None:
    replay = ExperienceReplay(ReplayConfig(max_bytes=200))
    for i in range(9):
        replay.add(f"user {i}", batch(1.0), now=float(i))
        assert replay.size <= 200
    assert sorted(await replay.snapshot(9.0)) == ["user 6", "user 7", "user 8"]
    replay.add("huge", batch(1.0, n=100), now=10.0)
    assert (replay.size, replay.users) == (0, 0)


async def test_the_replay_forgets_with_time_and_on_demand() -> None:
    replay = ExperienceReplay(ReplayConfig(ttl=30 * DAY))
    for day in (0, 10, 20):
        replay.add("u", batch(float(day)), now=day * DAY)
    assert await firsts(replay, 35 * DAY) == [10.0, 20.0]
    assert replay.forget("u") == 8
    assert replay.forget("u") == 0
    assert (replay.size, replay.users) == (0, 0)


async def test_the_replay_copies_and_leaves_supplied_negatives_out() -> None:
    replay = ExperienceReplay(ReplayConfig())
    x = np.ones((2, 3), np.float32)
    replay.add("u", Feedback(x, x, negatives=np.ones((50, 3))), now=0.0)
    x[:] = 7.0
    [kept] = (await replay.snapshot(0.0))["u"]
    assert kept.x.max() == 1.0
    assert kept.negatives is None
    assert replay.size == kept.nbytes == 48


async def test_a_snapshot_and_its_rows_hold_no_object_per_batch() -> None:
    """The collector of cycles stops the event loop for as long as it takes to walk such objects."""
    replay, x = ExperienceReplay(ReplayConfig()), np.ones((1, 2), np.float32)
    for number in range(600):
        replay.add(f"user {number % 200:03}", Feedback(x, x), now=0.0)
    gc.collect()
    before = objects(Feedback)
    snapshot = await replay.snapshot(0.0)
    assert sum(map(len, snapshot.values())) == 600
    found = collect_rows(snapshot, "mse")
    assert found is not None
    assert (len(found), found.keys[0], found.first[:2].tolist()) == (600, "user 000", [0, 3])
    assert objects(Feedback) == before


async def test_rows_of_one_user_with_many_batches_are_collected_with_rests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    snapshot, x = Batches(), np.ones((1, 2), np.float32)
    snapshot.add("user", *[parts_of(Feedback(x, x))] * 500)
    looked_at, at_rests = [0], [0]

    def usable(_: Feedback) -> bool:
        looked_at[0] += 1
        return True

    monkeypatch.setattr(rows, "_usable_mse", usable)
    monkeypatch.setattr(turns, "give_way", lambda: at_rests.append(looked_at[0]))
    collected = collect_rows(snapshot, "mse")
    assert collected is not None
    assert len(collected) == looked_at[0] == 500
    assert np.diff(at_rests).max() <= turns.FEW


def objects(kind: type) -> int:
    return sum(isinstance(thing, kind) for thing in gc.get_objects())


@pytest.mark.parametrize("bank", [None, "memory://"])
async def test_the_replay_can_be_switched_off(bank: str | None) -> None:
    async with Engine(make_config(replay=ReplayConfig(enabled=False)), bank) as engine:
        await run_updates(engine, await engine.create_adapter("u"), 3)
        assert (engine.stats().replay_bytes, engine.stats().replay_users) == (0, 0)


async def test_the_replay_names_users_by_their_hash_alone() -> None:
    async with Engine(make_config()) as engine:
        await run_updates(engine, await engine.create_adapter("ada"), 3)
        assert list(await engine.replay.snapshot(0.0)) == [user_key("ada", b"lorabank")]
