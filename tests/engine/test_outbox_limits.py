"""The outbox by itself: room, draining, closing, forgetting."""

from __future__ import annotations

import anyio
from tests.engine.banks import FakeTime, ScriptedBank, failing, settle, waiting_for
from tests.engine.episodes import episode, ids, offer, running

from lorabank import (
    OutboxConfig,
    new_id,
)
from lorabank.breaker import CircuitBreaker
from lorabank.outbox import Outbox


async def test_full_it_waits_for_room_and_then_rejects() -> None:
    time, bank, gate = FakeTime(), ScriptedBank(), anyio.Event()
    bank.script["store_patterns"] = waiting_for(gate)
    async with running(bank, time, capacity=3, budget=0.02) as outbox:
        with anyio.fail_after(2):
            assert await offer(outbox, range(5)) == [True, True, True, False, False]
        assert (len(outbox), outbox.report().rejected) == (3, 2)
    async with running(bank, time, capacity=1, budget=5.0) as outbox:
        await offer(outbox, [7])
        async with anyio.create_task_group() as group:
            group.start_soon(offer, outbox, [8])
            await settle()
            gate.set()
        await outbox.emptied()
        assert outbox.report().rejected == 0
    assert ids(bank.received)[-2:] == ["0007", "0008"]


async def test_draining_cuts_every_pause_short() -> None:
    for failures_to_open in (1, 1000):  # the breaker's pause, and that between tries
        time, bank = FakeTime(), ScriptedBank()
        bank.script["store_patterns"] = failing()
        async with running(bank, time, failures_to_open=failures_to_open) as outbox:
            await offer(outbox, range(3))
            await settle()
            time.advance(1.0)
            await settle()
            bank.script.clear()
            with anyio.fail_after(2):
                await outbox.drain()
        assert ids(bank.received) == ["0000", "0001", "0002"]


async def test_draining_a_failing_bank_does_not_spin() -> None:
    time, bank = FakeTime(), ScriptedBank()
    bank.script["store_patterns"] = failing()
    async with running(bank, time) as outbox:
        await offer(outbox, range(3))
        with anyio.move_on_after(0.05):
            await outbox.drain()
        tried = len(bank.tried)
        assert tried <= 2
        assert len(outbox.report().undelivered) == 3


async def test_closed_it_rejects() -> None:
    outbox = Outbox(
        ScriptedBank().store_patterns,
        OutboxConfig(capacity=1),
        CircuitBreaker(1, 1.0, lambda: 0.0),
        FakeTime().clock,
    )
    assert await outbox.offer(episode(0))
    outbox.close()
    assert not await outbox.offer(episode(1))
    assert [p.id for p in outbox.report().undelivered] == ["0000"]
    assert outbox.report().rejected == 1


async def test_forgetting_waits_for_a_delivery_under_way() -> None:
    bank, gate = ScriptedBank(), anyio.Event()
    bank.script["store_patterns"] = waiting_for(gate)
    async with running(bank, FakeTime(), batch=2) as outbox:
        for number in range(6):
            await offer(outbox, [number], user="me" if number % 2 else "you")
        await settle()
        async with anyio.create_task_group() as group:
            group.start_soon(outbox.forget, "me")
            await settle()
            assert len(outbox) == 6
            gate.set()
        await outbox.emptied()
    assert ids(bank.received[1:]) in (["0002", "0004"], ["0004"])


def test_ids_sort_by_time() -> None:
    made = [new_id(now) for now in (1.0, 2.0, 1e9, 2e9)]
    assert made == sorted(made)
