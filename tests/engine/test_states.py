"""disconnected -> connected <-> degraded -> disconnected."""

from __future__ import annotations

from dataclasses import replace

import anyio
import numpy as np
from tests.engine.banks import (
    FakeTime,
    ScriptedBank,
    failing,
    make_config,
    make_feedback,
    run_updates,
    settle,
    waiting_for,
)

from lorabank import Adapter, OutboxConfig, QueryConfig, UpdateResult
from lorabank import LoRAPersonalizationEngine as Engine

QUICK = QueryConfig(budget=5.0, failures_to_open=2, pause=10.0, refresh_every=1)
SLOW_RETRY = OutboxConfig(backoff=1.0, backoff_max=1.0)


def state(engine: Engine) -> str:
    return engine.bank_state


def break_down(bank: ScriptedBank) -> None:
    for name in ("retrieve_patterns", "learn_strategy", "store_patterns", "skills"):
        bank.script[name] = failing()


async def test_connected_and_disconnected_again() -> None:
    async with Engine(make_config()) as engine:
        states: list[object] = [(state(engine), engine.has_reasoning_bank())]
        await engine.connect_reasoning_bank("memory://")
        states.append((state(engine), engine.has_reasoning_bank()))
        await engine.disconnect_reasoning_bank()
        states.append((state(engine), engine.has_reasoning_bank()))
        await engine.disconnect_reasoning_bank()
    assert states == [("disconnected", False), ("connected", True), ("disconnected", False)]


async def test_degraded_and_connected_again_by_one_delivery() -> None:
    time, bank = FakeTime(), ScriptedBank()
    config = make_config(query=QUICK, outbox=SLOW_RETRY)
    async with Engine(config, bank, clock=time.clock) as engine:
        break_down(bank)
        adapter, reports = await run_updates(engine, await engine.create_adapter("u"), 3)
        assert [r.cache for r in reports][:1] == ["failed"]
        await settle()
        assert (state(engine), engine.has_reasoning_bank()) == ("degraded", True)

        asked = bank.calls["retrieve_patterns"]
        adapter, reports = await run_updates(engine, adapter, 3)
        assert {r.cache for r in reports} == {"degraded"}
        assert {r.bank for r in reports} == {"degraded"}
        assert {r.episode for r in reports} == {"queued"}
        assert bank.calls["retrieve_patterns"] == asked, "a degraded bank is not asked"

        bank.script.clear()
        await settle()
        time.advance(9.0)
        await settle()
        assert bank.received == [], "delivery pauses under the same breaker"
        time.advance(1.5)
        await settle()
        assert len(bank.received[0]) == 1, "the probe is one delivery of one episode"
        assert state(engine) == "connected"
        assert sum(map(len, bank.received)) == 5

        _, reports = await run_updates(engine, adapter, 1)
        assert (reports[0].cache, reports[0].bank) == ("miss", "connected")
    assert state(engine) == "disconnected"


async def test_a_failed_probe_opens_for_another_pause() -> None:
    time, bank = FakeTime(), ScriptedBank()
    async with Engine(
        make_config(query=QUICK, outbox=SLOW_RETRY), bank, clock=time.clock
    ) as engine:
        break_down(bank)
        await run_updates(engine, await engine.create_adapter("u"), 3)
        await settle()
        tried = len(bank.tried)
        time.advance(11.0)
        await settle()
        time.advance(5.0)
        await settle()
        assert len(bank.tried) == tried + 1
        assert state(engine) == "degraded"
        bank.script.clear()
    assert len(await bank.stored()) == 3, "the pause does not hold back the last tries"


async def test_half_open_without_a_delivery_waiting_the_probe_is_one_query() -> None:
    time, bank = FakeTime(), ScriptedBank()
    config = make_config(query=replace(QUICK, budget=0.05))
    async with Engine(config, bank, clock=time.clock) as engine:
        break_down(bank)
        adapters = [await engine.create_adapter(f"user {i}") for i in range(5)]
        for adapter in adapters[:2]:
            await run_updates(engine, adapter, 1)
        assert state(engine) == "degraded"
        asked, gate = bank.calls["retrieve_patterns"], anyio.Event()
        bank.script = {"retrieve_patterns": waiting_for(gate)}
        time.advance(11.0)
        async with anyio.create_task_group() as group:
            for adapter in adapters:
                group.start_soon(run_updates, engine, adapter, 1)
        assert bank.calls["retrieve_patterns"] == asked + 1
        gate.set()
        await settle()
        assert state(engine) == "connected"


async def test_cached_hints_are_used_while_degraded() -> None:
    time, bank = FakeTime(), ScriptedBank()
    query = replace(QUICK, failures_to_open=1, refresh_every=100)
    async with Engine(make_config(query=query), bank, clock=time.clock) as engine:
        adapter, reports = await run_updates(engine, await engine.create_adapter("u"), 1)
        assert reports[0].cache == "miss"
        break_down(bank)
        await run_updates(engine, await engine.create_adapter("another"), 1)
        assert state(engine) == "degraded"
        _, reports = await run_updates(engine, adapter, 1)
        assert (reports[0].cache, reports[0].bank) == ("hit", "degraded")
        assert reports[0].hints.strategy is not None
        bank.script.clear()


async def test_degraded_to_disconnected_reports_what_was_not_delivered() -> None:
    time, bank = FakeTime(), ScriptedBank()
    outbox = OutboxConfig(drain=0.05, backoff=1.0)
    async with Engine(make_config(query=QUICK, outbox=outbox), bank, clock=time.clock) as engine:
        break_down(bank)
        await run_updates(engine, await engine.create_adapter("u"), 3)
        with anyio.fail_after(5):
            report = await engine.disconnect_reasoning_bank()
        assert (report.delivered, report.rejected, report.dead) == (0, 0, 0)
        outcomes = [pattern.outcome is None for pattern in report.undelivered]
        assert outcomes == [False, False, True], "the pending episode is among them"
        assert state(engine) == "disconnected"


async def test_updates_in_flight_finish_on_the_bank_that_they_began_with() -> None:
    first, second, gate = ScriptedBank(), ScriptedBank(), anyio.Event()
    config = make_config(query=QueryConfig(budget=5.0))
    done: list[UpdateResult] = []

    async def update(engine: Engine, adapter: Adapter) -> None:
        done.append(await engine.update_adapter(adapter, make_feedback(np.random.default_rng(1))))

    async with Engine(config, first) as engine:
        adapter, _ = await run_updates(engine, await engine.create_adapter("u"), 4)
        first.script["learn_strategy"] = waiting_for(gate)
        first.started.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(update, engine, adapter)
            await first.started["learn_strategy"].wait()
            group.start_soon(engine.connect_reasoning_bank, second)
            await second.started["bind"].wait()
            await settle()
            assert not done, "the update still waits for the first bank"
            _, [report] = await run_updates(engine, await engine.create_adapter("v"), 1)
            assert report.cache == "miss", "while new updates use the second"
            gate.set()
        [(adapter, report)] = done
        assert report.cache == "miss"
        assert report.hints.strategy is not None
        assert len(await first.stored()) == 5
        assert await second.stored() == []
        await run_updates(engine, adapter, 1)
    assert len(await second.stored()) == 3, "one scored, two pending"
    scored = {pattern.id: pattern.outcome for pattern in await second.stored()}
    assert scored[adapter.pending.id] is not None  # type: ignore[union-attr]


async def test_the_cache_is_cleared_on_disconnect() -> None:
    bank = ScriptedBank()
    async with Engine(make_config(), bank) as engine:
        adapter, _ = await run_updates(engine, await engine.create_adapter("u"), 2)
        assert engine.stats().cache_entries == 1
        await engine.disconnect_reasoning_bank()
        assert (engine.stats().cache_entries, engine.stats().cache_bytes) == (0, 0)
        await engine.connect_reasoning_bank(bank)
        _, reports = await run_updates(engine, adapter, 1)
        assert reports[0].cache == "miss"
    assert (engine.stats().cache_hits, engine.stats().cache_misses) == (1, 2)
