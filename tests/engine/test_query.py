"""Phase 1: parallel halves, one query per key, the cache, and the budget."""

from __future__ import annotations

import time as real_time

import anyio
import numpy as np
import pytest
from tests.engine.banks import (
    PASS,
    Act,
    FakeTime,
    ScriptedBank,
    answering,
    failing,
    hanging,
    make_config,
    make_feedback,
    run_updates,
    settle,
    waiting_for,
)

from lorabank import Adapter, Feedback, OutboxConfig, QueryConfig, UpdateReport, UpdateResult
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank.bank import StandardBank
from lorabank.errors import BankUnavailableError
from lorabank_memory import MemoryStore

PATIENT = QueryConfig(budget=5.0, deadline=5.0)


async def test_the_two_halves_overlap() -> None:
    bank = ScriptedBank()
    bank.script["retrieve_patterns"] = lambda: _meet(bank, "learn_strategy")
    bank.script["learn_strategy"] = lambda: _meet(bank, "retrieve_patterns")
    with anyio.fail_after(4):
        async with Engine(make_config(query=PATIENT), bank) as engine:
            _, reports = await run_updates(engine, await engine.create_adapter("u"), 1)
    assert reports[0].cache == "miss"


async def _meet(bank: ScriptedBank, other: str) -> object:
    await bank.started[other].wait()
    return PASS


@pytest.mark.parametrize("half", ["retrieve_patterns", "learn_strategy"])
async def test_one_half_failing_keeps_the_others_answer_and_caches_nothing(half: str) -> None:
    bank = ScriptedBank()
    async with Engine(make_config(query=PATIENT), bank) as engine:
        adapter, _ = await run_updates(engine, await engine.create_adapter("u"), 3)
        await engine.flush()
        await engine.connect_reasoning_bank(bank)  # with an empty cache
        bank.script[half] = failing(RuntimeError("broken"), times=1)
        adapter, [report] = await run_updates(engine, adapter, 1)
        if half == "retrieve_patterns":
            assert (report.hints.similar, report.hints.strategy is None) == ((), False)
        else:
            assert (len(report.hints.similar) > 0, report.hints.strategy) == (True, None)
        assert report.cache == "miss"
        assert engine.stats().cache_entries == 0
        adapter, [report] = await run_updates(engine, adapter, 1)
        assert engine.stats().cache_entries == 1
        assert report.hints.strategy is not None


class Joint(MemoryStore):
    """Answers both halves at once, and counts who asks how; fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.failing = False

    async def search(self, namespace, vector, k, where):
        self.asked.append("search")
        return await super().search(namespace, vector, k, where)

    async def search_joint(self, namespace, vector, wanted, trials, conclude):
        self.asked.append("joint")
        if self.failing:
            raise BankUnavailableError("told to")
        matches = await super().search(namespace, vector, wanted.k, wanted.where)
        found = await super().search_trials(namespace, vector, trials.k, trials.where)
        return conclude(matches, found)


async def test_a_bank_that_answers_both_halves_at_once_is_asked_once() -> None:
    store = Joint()
    bank = StandardBank(store)
    async with Engine(make_config(query=PATIENT), bank) as engine:
        adapter, _ = await run_updates(engine, await engine.create_adapter("u"), 3)
        await engine.flush()
        for store.failing, expected in ((False, ["joint"]), (True, ["joint", "search"])):
            await engine.connect_reasoning_bank(bank)  # with an empty cache
            store.asked.clear()
            adapter, [report] = await run_updates(engine, adapter, 1)
            assert store.asked == expected
            assert report.cache == "miss"
            assert len(report.hints.similar) > 0
            assert (report.hints.strategy is None) == store.failing
            if report.hints.strategy is not None:
                assert report.hints.similar == report.hints.strategy.patterns


async def test_many_callers_of_one_key_make_one_query() -> None:
    bank, gate = ScriptedBank(), anyio.Event()
    bank.script["retrieve_patterns"] = waiting_for(gate)
    reports: list[UpdateReport] = []

    async def update(engine: Engine, adapter: Adapter) -> None:
        reports.extend((await run_updates(engine, adapter, 1))[1])

    async with Engine(make_config(query=PATIENT), bank) as engine:
        adapter = await engine.create_adapter("u")
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(update, engine, adapter)
            await settle()
            gate.set()
        assert (bank.calls["retrieve_patterns"], bank.calls["learn_strategy"]) == (1, 1)
        assert [report.cache for report in reports] == ["miss"] * 10


async def test_a_shared_query_survives_its_first_callers_cancellation() -> None:
    bank, gate = ScriptedBank(), anyio.Event()
    bank.script["retrieve_patterns"] = waiting_for(gate)
    results: list[UpdateResult] = []

    async def update(
        engine: Engine, adapter: Adapter, feedback: Feedback, scope: anyio.CancelScope
    ) -> None:
        with scope:
            results.append(await engine.update_adapter(adapter, feedback))

    async with Engine(make_config(query=PATIENT), bank) as engine:
        adapter, feedback = await engine.create_adapter("u"), make_feedback(np.random.default_rng())
        first = anyio.CancelScope()
        async with anyio.create_task_group() as group:
            group.start_soon(update, engine, adapter, feedback, first)
            await bank.started["retrieve_patterns"].wait()
            group.start_soon(update, engine, adapter, feedback, anyio.CancelScope())
            await settle()
            first.cancel()
            await settle()
            assert results == []
            gate.set()
        [(_, report)] = results
        assert report.cache == "miss"
        assert report.hints.strategy is not None
        assert bank.calls["retrieve_patterns"] == 1


async def test_an_answer_lives_for_its_time_to_live() -> None:
    time, bank = FakeTime(), ScriptedBank()
    query = QueryConfig(budget=5.0, refresh_every=1000, cache_ttl=300.0)
    async with Engine(make_config(query=query), bank, clock=time.clock) as engine:
        adapter, states = await engine.create_adapter("u"), []
        for seconds in (0.0, 299.0, 1.0, 299.9, 0.2):
            time.advance(seconds)
            adapter, [report] = await run_updates(engine, adapter, 1)
            states.append(report.cache)
    assert states == ["miss", "hit", "miss", "hit", "miss"]


async def test_a_users_stream_hits_seventy_to_seventy_five_percent() -> None:
    async with Engine(make_config(query=PATIENT), "memory://") as engine:
        for user in ("ada", "grace", "edsger"):
            await run_updates(engine, await engine.create_adapter(user), 21)
        stats = engine.stats()
    assert stats.cache_hits + stats.cache_misses == 63
    assert 0.70 <= stats.cache_hit_rate <= 0.75


@pytest.mark.parametrize(
    "bounds", [{"cache_entries": 3}, {"cache_bytes": 10_000}], ids=["entries", "bytes"]
)
async def test_the_cache_is_bounded(bounds: dict[str, int]) -> None:
    query = QueryConfig(budget=5.0, refresh_every=1, **bounds)
    async with Engine(make_config(query=query), "memory://") as engine:
        await run_updates(engine, await engine.create_adapter("u"), 12)
        stats = engine.stats()
    assert 0 < stats.cache_entries <= 3
    assert stats.cache_bytes <= 10_000 or "cache_bytes" not in bounds


@pytest.mark.parametrize("change", ["namespace", "rank", "generation"])
async def test_what_a_key_tells_apart(change: str) -> None:
    bank = ScriptedBank()
    async with Engine(make_config(query=PATIENT), bank) as engine:
        adapter, _ = await run_updates(engine, await engine.create_adapter("u"), 1)
        if change == "generation":
            await bank.delete_skill("default", "none")
        elif change == "rank":
            async with Engine(make_config(rank=3)) as other:
                adapter = await other.create_adapter("u")
        else:
            object.__setattr__(engine.config, "namespace", "another")
        _, [report] = await run_updates(engine, adapter, 1)
        assert report.cache == "miss"
        assert engine.stats().cache_entries == 2


BEYOND = 5.0  # seconds; the budget is 0.02


@pytest.mark.parametrize("method", ["retrieve_patterns", "learn_strategy", "store_patterns"])
@pytest.mark.parametrize(
    "act",
    [hanging, failing(RuntimeError("bug")), failing(), failing(OSError()), answering(None)],
    ids=["hangs", "raises", "is away", "raises OSError", "answers None"],
)
async def test_no_bank_fails_or_delays_an_update(method: str, act: Act) -> None:
    bank = ScriptedBank()
    config = make_config(
        query=QueryConfig(budget=0.02, deadline=30.0),
        outbox=OutboxConfig(capacity=2, budget=0.02, drain=0.05),
    )
    async with Engine(config, bank) as engine:
        bank.script[method] = act
        adapter = await engine.create_adapter("u")
        for _ in range(4):
            began = real_time.perf_counter()
            with anyio.fail_after(BEYOND):
                adapter, _ = await run_updates(engine, adapter, 1)
            assert real_time.perf_counter() - began < BEYOND
        assert adapter.version == 4


@pytest.mark.parametrize("budget", [0.02, 0.1])
async def test_the_wait_for_a_hanging_bank_ends_within_the_budget(budget: float) -> None:
    bank = ScriptedBank()
    config = make_config(query=QueryConfig(budget=budget, deadline=30.0, refresh_every=1))
    async with Engine(config, bank) as engine:
        bank.script["retrieve_patterns"] = hanging
        adapter = await engine.create_adapter("u")
        # A busy machine may wake the loop late, now and then. No timer is ever early: with the
        # whole budget as its wait, an update would always be over.
        for _ in range(50):
            began = real_time.perf_counter()
            adapter, [report] = await run_updates(engine, adapter, 1)
            whole = real_time.perf_counter() - began
            assert report.cache == "timeout"
            assert 0.7 * budget < report.seconds.wait <= report.seconds.query <= whole
            if whole <= budget:
                break
        else:
            pytest.fail("no update of fifty ended within its budget")


async def test_an_answer_from_the_cache_is_not_waited_for() -> None:
    async with Engine(make_config(query=PATIENT), ScriptedBank()) as engine:
        _, [first, second] = await run_updates(engine, await engine.create_adapter("u"), 2)
        assert (first.cache, second.cache) == ("miss", "hit")
        assert 0 < second.seconds.wait < second.seconds.query
        assert 0 < first.seconds.wait < first.seconds.query
