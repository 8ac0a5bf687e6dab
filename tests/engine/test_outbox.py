"""The outbox by itself: order, retries, dead letters."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from tests.engine.banks import FakeTime, ScriptedBank, failing, hanging, settle, waiting_for
from tests.engine.episodes import episode, ids, offer, running

from lorabank import (
    BankRejectedError,
    InvalidInputError,
    OutboxConfig,
    Pattern,
)
from lorabank.breaker import CircuitBreaker
from lorabank.delivery import UNKNOWN_FAILURES
from lorabank.outbox import Outbox


async def test_in_order_and_in_batches() -> None:
    bank, gate = ScriptedBank(), anyio.Event()
    bank.script["store_patterns"] = waiting_for(gate)
    async with running(bank, FakeTime(), batch=4) as outbox:
        await offer(outbox, range(10))
        await settle()
        gate.set()
        await outbox.emptied()
    assert ids(bank.received) == [f"{i:04d}" for i in range(10)]
    assert [len(batch) for batch in bank.received] == [1, 4, 4, 1] or len(bank.received) == 3


async def test_pauses_double_up_to_a_bound() -> None:
    time, bank = FakeTime(), ScriptedBank()
    bank.script["store_patterns"] = failing()
    pauses = []
    async with running(bank, time) as outbox:
        await offer(outbox, [0])
        for _ in range(6):
            await settle()
            [(until, _)] = time.sleepers
            pauses.append(until - time.now)
            time.advance(until - time.now)
        bank.script.clear()
        await settle()
        time.advance(8.0)
        await outbox.emptied()
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


async def test_a_slow_delivery_is_tried_again_after_its_deadline() -> None:
    time, bank = FakeTime(), ScriptedBank()
    bank.script["store_patterns"] = hanging
    async with running(bank, time, deadline=0.02) as outbox:
        await offer(outbox, [0, 1])
        with anyio.fail_after(5):
            while not time.sleepers:
                await anyio.wait_all_tasks_blocked()
        bank.script.clear()
        time.advance(1.0)
        await outbox.emptied()
        assert outbox.report().delivered == 2
    assert ids(bank.received) == ["0000", "0001"]


async def test_a_permanent_error_is_a_dead_letter_and_holds_nobody_back() -> None:
    bank = ScriptedBank()

    async def store(patterns: Sequence[Pattern]) -> None:
        given = {pattern.id for pattern in patterns}
        if "0003" in given:
            raise BankRejectedError("too large")
        if "0005" in given:
            raise InvalidInputError("id", "0005", "another")
        await bank.store_patterns(patterns)

    time = FakeTime()
    config = OutboxConfig(dead_letters=1)
    outbox = Outbox(store, config, CircuitBreaker(5, 1.0, time.clock.monotonic), time.clock)
    outbox.put_aside([episode(i) for i in range(8)])
    async with anyio.create_task_group() as group:
        group.start_soon(outbox.run)
        await outbox.emptied()
        group.cancel_scope.cancel()
    assert ids(bank.received) == ["0000", "0001", "0002", "0004", "0006", "0007"]
    report = outbox.report()
    assert (report.delivered, report.dead, len(report.dead_letters)) == (6, 2, 1)
    assert report.dead_letters[0].pattern.id == "0005"
    assert "another" in report.dead_letters[0].reason


async def test_an_error_of_no_known_kind_is_given_up_after_a_while() -> None:
    time, bank = FakeTime(), ScriptedBank()

    async def store(patterns: Sequence[Pattern]) -> None:
        if patterns[0].id == "0000":
            raise RuntimeError("bug")
        await bank.store_patterns(patterns)

    breaker = CircuitBreaker(1000, 1.0, time.clock.monotonic)
    outbox = Outbox(store, OutboxConfig(), breaker, time.clock)
    async with anyio.create_task_group() as group:
        group.start_soon(outbox.run)
        await offer(outbox, range(5))
        for _ in range(UNKNOWN_FAILURES):
            await settle()
            time.advance(10.0)
        await outbox.emptied()
        group.cancel_scope.cancel()
    assert ids(bank.received) == ["0001", "0002", "0003", "0004"]
    assert "RuntimeError: bug" in outbox.report().dead_letters[0].reason
