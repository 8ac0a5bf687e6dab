"""From the store's queue to the bank: everything, in order, once by id."""

from __future__ import annotations

import anyio
import pytest
from tests.engine.banks import FakeTime, ScriptedBank, failing, hanging, make_config
from tests.engine.people import People
from tests.personalizer.stores import ScriptedStore, bank_ids, learn, until

from lorabank import BankError, BankRejectedError, OutboxConfig, UpdateReport
from lorabank.errors import StoreUnavailableError
from lorabank.personalizer import Personalizer
from lorabank.stores import open_adapter_store

QUICK = make_config(outbox=OutboxConfig(backoff=0.01, drain=0.2, deadline=0.1))


def finished(reports: list[UpdateReport]) -> list[str]:
    return [r.finished.id for r in reports if r.finished is not None]


async def test_everything_arrives_in_order(store_url: str) -> None:
    bank = ScriptedBank()
    async with Personalizer.open(make_config(), store=store_url, bank=bank) as p:
        reports = {user: await learn(p, user, 10) for user in ("ada", "bob")}
    received = [p.id for some in bank.received for p in some]
    for one in reports.values():
        assert [i for i in received if i in finished(one)] == finished(one)
    assert len(received) == 18


async def test_what_the_bank_did_not_take_waits_for_the_next_start(sqlite_url: str) -> None:
    down, up = ScriptedBank(), ScriptedBank()
    down.script["store_patterns"] = failing()
    async with Personalizer.open(QUICK, store=sqlite_url, bank=down) as p:
        reports = await learn(p, "ada", 6)
        told, _ = await p.stats()
        assert (told.delivered, told.waiting, told.dead) == (0, 5, 0)
    assert await bank_ids(down) == []
    async with Personalizer.open(QUICK, store=sqlite_url, bank=up) as p:
        with anyio.fail_after(10):
            await p._parts.queue.emptied()
        told, _ = await p.stats()
        assert (told.delivered, told.waiting, told.dead) == (5, 0, 0)
        assert told.replay_bytes > 0
    assert [p.id for some in up.received for p in some] == finished(reports)
    async with open_adapter_store(sqlite_url) as store:
        assert (await store.counts()).queued == 0


async def test_delivered_twice_is_there_once() -> None:
    """The store fails right after the bank has taken them, so they are sent again."""
    store, bank = ScriptedStore(), ScriptedBank()
    store.script["settle"] = failing(StoreUnavailableError("busy"), times=1)
    time = FakeTime()
    async with Personalizer.open(make_config(), store=store, bank=bank, clock=time.clock) as p:
        reports = await learn(p, "ada", 3)

        async def delivered() -> bool:
            time.advance(1.0)
            return not await store.inner.queued(1)

        await until(delivered)
    assert len([p for some in bank.received for p in some]) > 2
    assert await bank_ids(bank) == sorted(finished(reports))


async def test_what_no_bank_takes_is_put_aside() -> None:
    store, bank = ScriptedStore(), ScriptedBank()
    bank.script["store_patterns"] = failing(BankRejectedError("too strange"), times=2)
    async with Personalizer.open(make_config(), store=store, bank=bank) as p:
        reports = await learn(p, "ada", 4)
        with anyio.fail_after(10):
            await p._parts.queue.emptied()
        counts = await store.counts()
        assert (counts.queued, counts.dead) == (0, 3 - len(await bank_ids(bank)))
    assert set(await bank_ids(bank)) <= set(finished(reports))


async def test_closing_does_not_wait_for_a_dead_bank_longer_than_it_may(store_url: str) -> None:
    bank = ScriptedBank()
    bank.script["store_patterns"] = hanging
    with anyio.fail_after(5):
        async with Personalizer.open(QUICK, store=store_url, bank=bank) as p:
            await learn(p, "ada", 3)


async def test_cancelled_from_outside_it_does_not_wait_at_all(sqlite_url: str) -> None:
    bank = ScriptedBank()
    bank.script["store_patterns"] = failing()
    config = make_config(outbox=OutboxConfig(drain=60.0))
    with anyio.fail_after(20):
        with anyio.CancelScope() as scope:
            async with Personalizer.open(config, store=sqlite_url, bank=bank) as p:
                reports = await learn(p, "ada", 3)
                scope.cancel()
                await anyio.sleep_forever()
        async with open_adapter_store(sqlite_url) as store:
            waiting = [e.pattern.id for e in await store.queued(10)]
    assert waiting == finished(reports)


async def test_consolidation_trains_on_the_stores_replay(sqlite_url: str) -> None:
    people, bank = People("mse"), ScriptedBank()
    async with Personalizer.open(people.config(), store=sqlite_url, clock=FakeTime().clock) as p:
        for user in range(72):
            await p.learn(f"user {user}", people.feedback(user, 0))
    async with Personalizer.open(
        people.config(), store=sqlite_url, bank=bank, clock=FakeTime().clock
    ) as p:
        for user in range(72):
            for i in (1, 2):
                await p.learn(f"user {user}", people.feedback(user, i))
        await p._parts.upkeep.drain()
        report = await p.consolidate()
    # Both runs' feedback is there: three batches of each of 72 users.
    assert report.groups[0].events == 72 * 3 * 6
    assert report.skills_with_weights >= 1


async def test_consolidation_now_and_then() -> None:
    time, bank = FakeTime(), ScriptedBank()
    config = make_config(consolidate_every=60.0)
    with anyio.fail_after(10):
        async with Personalizer.open(config, bank=bank, clock=time.clock):
            for count in (1, 2, 3):
                if count == 2:
                    bank.script["auto_consolidate"] = failing()
                await until(lambda: _sleeping(time))
                time.advance(59.0)
                assert bank.calls["auto_consolidate"] == count - 1
                time.advance(1.0)
                await until(lambda count=count: _called(bank, count))


async def _sleeping(time: FakeTime) -> bool:
    return any(until - time.now > 50.0 for until, _ in time.sleepers)


async def _called(bank: ScriptedBank, count: int) -> bool:
    return bank.calls["auto_consolidate"] == count


async def test_without_a_bank_there_is_nothing_to_consolidate() -> None:
    async with Personalizer.open(make_config(consolidate_every=1.0)) as p:
        with pytest.raises(BankError, match="no bank"):
            await p.consolidate()
