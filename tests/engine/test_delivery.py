"""Every episode is delivered exactly once by id, in order per user, and survives the close."""

from __future__ import annotations

from collections import defaultdict

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.banks import (
    ScriptedBank,
    failing,
    hanging,
    make_config,
    make_feedback,
    run_updates,
    waiting_for,
)

from lorabank import (
    Adapter,
    BankRejectedError,
    BankUnavailableError,
    Clock,
    OutboxConfig,
    Pattern,
    QueryConfig,
    UpdateReport,
)
from lorabank import LoRAPersonalizationEngine as Engine

FAST = OutboxConfig(backoff=0.001, backoff_max=0.002, deadline=0.02, drain=5.0)
FAULTS = ("fine", "unavailable", "bug", "stored, then lost", "hangs")


def check_order(bank: ScriptedBank) -> None:
    """The first arrivals of each user's episodes are in the order in which they were made."""
    seen: dict[str, list[str]] = defaultdict(list)
    for batch in bank.received:
        for pattern in batch:
            if pattern.id not in seen[pattern.user_key]:
                seen[pattern.user_key].append(pattern.id)
    for made in seen.values():
        assert made == sorted(made)


async def deliver_under(faults: list[str]) -> None:
    """Three users, five updates each, on a bank that acts out the faults and then recovers."""
    bank, left = ScriptedBank(), list(faults)
    inner = bank.store_patterns
    ticks = iter(range(10**9, 2 * 10**9))

    async def store(patterns: list[Pattern]) -> None:
        fault = left.pop(0) if left else "fine"
        if fault == "hangs":
            await hanging()
        if fault == "unavailable":
            raise BankUnavailableError("down")
        if fault == "bug":
            raise RuntimeError("bug")
        await inner(patterns)
        if fault != "fine":
            raise BankUnavailableError("the answer was lost")

    bank.store_patterns = store  # type: ignore[method-assign, assignment]
    clock = Clock(wall=lambda: float(next(ticks)))
    engine = Engine(make_config(outbox=FAST, query=QueryConfig(pause=0.01)), bank, clock=clock)
    finished: list[str] = []
    with anyio.fail_after(20):
        async with engine:
            adapters = [await engine.create_adapter(f"user {i}") for i in range(3)]
            rng = np.random.default_rng(0)
            for _ in range(5):
                for i, adapter in enumerate(adapters):
                    adapters[i], report = await engine.update_adapter(adapter, make_feedback(rng))
                    if report.finished is not None:
                        finished.append(report.finished.id)
            told = await engine.disconnect_reasoning_bank()
    assert (told.undelivered, told.dead, told.rejected) == ((), 0, 0)
    assert told.delivered == 15
    stored = {pattern.id: pattern for pattern in await bank.stored()}
    assert len(stored) == 15
    assert {i for i, pattern in stored.items() if pattern.outcome is not None} == set(finished)
    pending = {a.pending.id for a in adapters if a.pending is not None}
    assert {i for i, pattern in stored.items() if pattern.outcome is None} == pending
    check_order(bank)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(FAULTS), max_size=9))
def test_exactly_once_and_in_order_whatever_fails(backend: str, faults: list[str]) -> None:
    anyio.run(deliver_under, faults, backend=backend)


async def test_acknowledged_episodes_survive_the_close() -> None:
    bank, gate = ScriptedBank(), anyio.Event()
    bank.script["store_patterns"] = waiting_for(gate)
    async with anyio.create_task_group() as group, Engine(make_config(), bank) as engine:
        adapter, reports = await run_updates(engine, await engine.create_adapter("u"), 6)
        assert [r.episode for r in reports] == ["pending"] + 5 * ["queued"]
        assert bank.received == []
        group.start_soon(open_soon, bank, gate)
    stored = await bank.stored()
    scored = {p.id for p in stored if p.outcome is not None}
    assert scored == {r.finished.id for r in reports if r.finished}
    assert adapter.pending is not None
    assert [p.id for p in stored if p.outcome is None] == [adapter.pending.id]
    assert engine.stats().delivered == 6


async def open_soon(bank: ScriptedBank, gate: anyio.Event) -> None:
    await bank.started["store_patterns"].wait()
    gate.set()


async def test_a_full_outbox_is_waited_for_and_then_told_of() -> None:
    bank = ScriptedBank()
    bank.script["store_patterns"] = failing()
    outbox = OutboxConfig(capacity=2, budget=0.02, drain=0.05, backoff=30.0)
    async with Engine(make_config(outbox=outbox), bank) as engine:
        with anyio.fail_after(5):
            adapter, reports = await run_updates(engine, await engine.create_adapter("u"), 6)
        states = [report.episode for report in reports]
        assert states == ["pending", "queued", "queued", "rejected", "rejected", "rejected"]
        assert (engine.stats().rejected, engine.stats().waiting) == (3, 2)
        assert adapter.version == 6, "the user's own learning goes on"
        assert (await engine.disconnect_reasoning_bank()).rejected == 3
    assert engine.stats().rejected == 3


async def test_two_updates_from_one_adapter_both_leave_their_episodes() -> None:
    bank = ScriptedBank()
    async with Engine(make_config(), bank) as engine:
        old, _ = await run_updates(engine, await engine.create_adapter("u"), 1)
        branches = [(await run_updates(engine, old, 1, seed))[0] for seed in (1, 2)]
    stored = {pattern.id: pattern for pattern in await bank.stored()}
    assert old.pending is not None
    assert stored[old.pending.id].outcome is not None
    for branch in branches:
        assert branch.pending is not None
        assert stored[branch.pending.id].outcome is None
    assert len(stored) == 3


async def test_pending_episodes_beyond_the_bound_are_delivered_unscored() -> None:
    bank = ScriptedBank()
    async with Engine(make_config(outbox=OutboxConfig(pending=2)), bank) as engine:
        adapters = []
        for i in range(5):
            adapters += [(await run_updates(engine, await engine.create_adapter(f"{i}"), 1))[0]]
        await engine.flush()
        early, first = await bank.stored(), adapters[0].pending
        assert first is not None
        assert {p.id for p in early} == {a.pending.id for a in adapters[:3] if a.pending}
        await run_updates(engine, adapters[0], 1)
    stored = {pattern.id: pattern.outcome is not None for pattern in await bank.stored()}
    assert stored[first.id], "scored after all, it replaces what was delivered before"
    assert sum(stored.values()) == 1
    assert len(stored) == 6


async def test_flushing_leaves_pending_episodes_pending() -> None:
    bank = ScriptedBank()
    async with Engine(make_config(), bank) as engine:
        await run_updates(engine, await engine.create_adapter("u"), 3)
        report = await engine.flush()
        assert (report.delivered, len(await bank.stored())) == (2, 2)
    async with Engine(make_config()) as engine:
        assert (await engine.flush()).delivered == 0


async def test_a_dead_letter_is_counted() -> None:
    bank = ScriptedBank()
    bank.script["store_patterns"] = failing(BankRejectedError("too large"), times=2)
    async with Engine(make_config(), bank) as engine:
        await run_updates(engine, await engine.create_adapter("u"), 3)
        report = await engine.disconnect_reasoning_bank()
    assert report.dead == engine.stats().dead >= 1
    assert report.delivered + report.dead == 3


async def test_an_update_that_outlasts_the_drain_is_told_that_its_episode_is_rejected() -> None:
    bank, reports = ScriptedBank(), list[UpdateReport]()
    query = QueryConfig(budget=4.0, deadline=30.0, refresh_every=1)
    config = make_config(query=query, outbox=OutboxConfig(drain=1.0))

    async def late(engine: Engine, adapter: Adapter) -> None:
        reports.extend((await run_updates(engine, adapter, 1))[1])

    async with Engine(config, bank) as engine:
        adapter, _ = await run_updates(engine, await engine.create_adapter("u"), 3)
        bank.script["learn_strategy"] = hanging
        bank.started.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(late, engine, adapter)
            await bank.started["learn_strategy"].wait()
            with anyio.fail_after(5):
                told = await engine.disconnect_reasoning_bank()
    assert (told.delivered, told.undelivered) == (3, ()), "the others' are not held back by it"
    assert [report.episode for report in reports] == ["rejected"]


async def test_what_waits_while_the_drain_runs_out_is_given_back() -> None:
    """Also where the whole of its time is over before the updates' half of it was noticed."""
    bank = ScriptedBank()
    query = QueryConfig(budget=4.0, deadline=30.0, refresh_every=1)
    config = make_config(query=query, outbox=OutboxConfig(drain=1e-9))

    async with Engine(config, bank) as engine:
        adapter, _ = await run_updates(engine, await engine.create_adapter("u"), 3)
        bank.script["learn_strategy"] = hanging
        bank.started.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(run_updates, engine, adapter, 1)
            await bank.started["learn_strategy"].wait()
            with anyio.fail_after(5):
                told = await engine.disconnect_reasoning_bank()
            group.cancel_scope.cancel()
    assert told.delivered + len(told.undelivered) == 3, "the newest waited for the next update"
