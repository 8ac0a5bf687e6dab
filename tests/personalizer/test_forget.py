"""Forgetting a user, whatever is under way."""

from __future__ import annotations

import math
from functools import partial

import anyio
import numpy as np
import pytest
from tests.engine.banks import FakeTime, ScriptedBank, failing, hanging, make_config, settle
from tests.engine.banks import waiting_for as waiting
from tests.engine.people import People
from tests.personalizer.stores import ScriptedStore, bank_ids, batch, key, learn, once, until

from lorabank import (
    BankUnavailableError,
    CapabilityError,
    ConsolidationCriteria,
    OutboxConfig,
    QueryConfig,
)
from lorabank.personalizer import Personalizer
from lorabank.personalizer.upkeep import LEASE
from lorabank.stores import AdapterStore, Change, ForgetCounts, open_adapter_store
from lorabank.stores.base import GRACE
from lorabank.stores.sqlite import SqliteAdapterStore


async def test_everything_goes_and_the_receipt_says_so(store_url: str) -> None:
    bank, x = ScriptedBank(), batch(1).x
    async with Personalizer.open(make_config(), store=store_url, bank=bank) as p:
        await learn(p, "ada", 5)
        await learn(p, "bob", 5)
        await p._parts.upkeep.drain()
        bobs = await bank_ids(bank, "bob")
        receipt = await p.forget("ada")
        assert receipt.user_key == key("ada")
        assert receipt.removed == ForgetCounts(1, 0, 5)
        assert receipt.patterns == 4
        assert receipt.remaining == ForgetCounts(0, 0, 0)
        assert receipt.verified
        assert await bank_ids(bank) == bobs
        assert np.array_equal(await p.transform("ada", x), x)
        assert (await p.stats())[1].adapters == 1
        again = await p.forget("ada")
        assert (again.removed.total, again.patterns, again.verified) == (0, 0, True)
        await learn(p, "ada", 2)
        await p._parts.upkeep.drain()
        assert len(await bank_ids(bank, "ada")) == 1


async def test_without_a_bank(store_url: str) -> None:
    async with Personalizer.open(make_config(), store=store_url) as p:
        await learn(p, "ada", 3)
        receipt = await p.forget("ada")
        assert receipt.removed == ForgetCounts(1, 0, 3)
        assert (receipt.patterns, receipt.verified) == (None, True)


async def test_queued_episodes_are_never_delivered(store_url: str) -> None:
    bank = ScriptedBank()
    bank.script["store_patterns"] = failing()
    config = make_config(outbox=OutboxConfig(backoff=0.01, drain=5.0))
    async with Personalizer.open(config, store=store_url, bank=bank) as p:
        await learn(p, "ada", 3)
        await learn(p, "bob", 3)
        receipt = await p.forget("ada")
        assert receipt.removed == ForgetCounts(1, 2, 3)
        del bank.script["store_patterns"]
        await p._parts.upkeep.drain()
    assert {pattern.user_key for some in bank.received for pattern in some} == {key("bob")}


async def test_a_delivery_under_way_is_waited_for() -> None:
    bank, gate = ScriptedBank(), anyio.Event()
    bank.script["store_patterns"] = waiting(gate)
    with anyio.fail_after(10):
        async with Personalizer.open(make_config(), bank=bank) as p:
            await learn(p, "ada", 2)
            await bank.started["store_patterns"].wait()
            async with anyio.create_task_group() as group:

                async def forget() -> None:
                    assert (await p.forget("ada")).verified

                group.start_soon(forget)
                await settle()
                assert bank.calls["forget"] == 0
                gate.set()
            assert await bank_ids(bank) == []


@pytest.fixture
def everybody_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each lease had run out in the middle of a delivery."""

    async def lease(*arguments: object) -> bool:
        return True

    monkeypatch.setattr(SqliteAdapterStore, "lease", lease)


@pytest.mark.usefixtures("everybody_leads")
async def test_another_process_delivers_what_was_forgotten_and_forgets_again(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that forgets can't wait for the other one; the other one cleans up."""
    bank, slow, gate = ScriptedBank(), ScriptedBank(), anyio.Event()
    slow.inner = bank.inner
    slow.script["store_patterns"] = waiting(gate)
    slow.script["forget"] = failing(times=1)
    config = make_config()
    with anyio.fail_after(20):
        async with (
            Personalizer.open(config, store=sqlite_url, bank=bank) as one,
            Personalizer.open(config, store=sqlite_url, bank=slow) as other,
        ):
            await learn(other, "ada", 2)
            await slow.started["store_patterns"].wait()
            await learn(other, "bob", 2)
            assert (await one.forget("ada")).verified
            assert await bank_ids(bank, "ada") == []
            gate.set()
            await other._parts.upkeep.drain()
            assert slow.received[0][0].user_key == key("ada")
            # Once when it was asked for, and then again by either of them; the other one's first
            # attempt is in vain.
            in_vain = min(1, slow.calls["forget"])
            assert bank.calls["forget"] + slow.calls["forget"] >= 2 + in_vain
            assert "delivery stopped" not in caplog.text
            assert await bank_ids(bank, "ada") == []
            assert len(await bank_ids(bank, "bob")) == 1


@pytest.mark.usefixtures("everybody_leads")
async def test_two_processes_delivering_the_same_do_not_forget_anybody(sqlite_url: str) -> None:
    one_bank, other_bank, gate = ScriptedBank(), ScriptedBank(), anyio.Event()
    other_bank.inner = one_bank.inner
    one_bank.script["store_patterns"] = other_bank.script["store_patterns"] = waiting(gate)
    with anyio.fail_after(20):
        async with (
            Personalizer.open(make_config(), store=sqlite_url, bank=one_bank) as one,
            Personalizer.open(make_config(), store=sqlite_url, bank=other_bank) as other,
        ):
            await one.forget("ada")
            await learn(one, "ada", 3)
            await learn(other, "bob", 3)
            await one_bank.started["store_patterns"].wait()
            await other_bank.started["store_patterns"].wait()
            gate.set()
            await one._parts.upkeep.drain()
            await other._parts.upkeep.drain()
    assert one_bank.calls["forget"] + other_bank.calls["forget"] == 1
    assert len(await bank_ids(one_bank, "ada")) == 2
    assert len(await bank_ids(one_bank, "bob")) == 2


async def test_a_hot_adapter_elsewhere_cannot_bring_the_user_back(sqlite_url: str) -> None:
    """Even if the user has come back and stands at the very same version."""
    x, time = batch(50).x, FakeTime()
    async with (
        Personalizer.open(make_config(), store=sqlite_url, clock=time.clock) as one,
        Personalizer.open(make_config(), store=sqlite_url, clock=time.clock) as other,
    ):
        await learn(other, "ada", 5)
        assert (await one.forget("ada")).verified
        time.advance(1.0)
        for i in range(5):
            await one.learn("ada", batch(100 + i))
        fresh = await one.transform("ada", x)
        await other.learn("ada", batch(200))
        async with Personalizer.open(make_config()) as clean:
            for i in range(5):
                await clean.learn("ada", batch(100 + i))
            assert np.array_equal(await clean.transform("ada", x), fresh)
            await clean.learn("ada", batch(200))
            want = await clean.transform("ada", x)
        assert np.array_equal(await other.transform("ada", x), want)
        time.advance(10.0)
        assert np.array_equal(await one.transform("ada", x), want)


async def test_other_processes_are_seen_after_a_while_and_own_updates_at_once(
    sqlite_url: str,
) -> None:
    x, time = batch(50).x, FakeTime()
    async with (
        Personalizer.open(make_config(), store=sqlite_url, clock=time.clock) as one,
        Personalizer.open(make_config(), store=sqlite_url, clock=time.clock) as other,
    ):
        assert np.array_equal(await other.transform("ada", x), x)
        await learn(one, "ada", 3)
        learned = await one.transform("ada", x)
        assert not np.array_equal(learned, x)
        time.advance(5.1)
        assert np.array_equal(await other.transform("ada", x), learned)
        await one.forget("ada")
        time.advance(5.1)
        assert np.array_equal(await other.transform("ada", x), x)


async def test_a_read_under_way_does_not_bring_the_user_back() -> None:
    store, gate, x = ScriptedStore(), anyio.Event(), batch(1).x
    with anyio.fail_after(10):
        async with Personalizer.open(make_config(), store=store, hot_adapters=1) as p:
            await learn(p, "ada", 3)
            await learn(p, "bob", 1)
            store.then["get"] = once(waiting(gate))
            async with anyio.create_task_group() as group:
                group.start_soon(p.transform, "ada", x)
                await settle()
                assert (await p.forget("ada")).verified
                gate.set()
            assert np.array_equal(await p.transform("ada", x), x)


async def test_learning_meanwhile_waits_and_begins_anew() -> None:
    store, gate = ScriptedStore(), anyio.Event()
    with anyio.fail_after(10):
        async with Personalizer.open(make_config(), store=store) as p:
            await learn(p, "ada", 3)
            store.script["forget"] = waiting(gate)
            async with anyio.create_task_group() as group:
                group.start_soon(p.forget, "ada")
                await settle()
                group.start_soon(p.learn, "ada", batch(9))
                await settle()
                assert len(store.committed) == 3
                gate.set()
    assert store.committed[-1] == ("ada", 1)


async def test_a_failing_bank_leaves_the_stores_part_done_and_is_asked_again() -> None:
    store, bank = ScriptedStore(), ScriptedBank()
    async with Personalizer.open(make_config(), store=store, bank=bank) as p:
        await learn(p, "ada", 3)
        await p._parts.upkeep.drain()
        bank.script["forget"] = failing(times=1)
        with pytest.raises(BankUnavailableError):
            await p.forget("ada")
        assert (await store.remains("ada", key("ada"))).total == 0
        receipt = await p.forget("ada")
        assert (receipt.removed.total, receipt.patterns, receipt.verified) == (0, 2, True)


async def test_a_hanging_delivery_does_not_hold_forget_for_ever() -> None:
    bank = ScriptedBank()
    bank.script["store_patterns"] = hanging
    config = make_config(
        outbox=OutboxConfig(deadline=0.05, drain=0.05), query=QueryConfig(deadline=0.2)
    )
    with anyio.fail_after(10):
        async with Personalizer.open(config, bank=bank) as p:
            await learn(p, "ada", 3)
            await bank.started["store_patterns"].wait()
            try:
                receipt = await p.forget("ada")
            except BankUnavailableError:
                receipt = await p.forget("ada")
            assert receipt.verified


async def test_the_users_share_in_skills_is_rebuilt_without_them() -> None:
    people, bank = People("mse"), ScriptedBank(lambda: 1e9)
    time = FakeTime()
    criteria = ConsolidationCriteria(max_groups=0)
    with anyio.fail_after(60):
        async with Personalizer.open(people.config(), bank=bank, clock=time.clock) as p:
            for user in range(72):
                for i in range(2):
                    await p.learn(f"user {user}", people.feedback(user, i))
            await p._parts.upkeep.drain()
            await p.consolidate(criteria)
            (before,) = await bank.skills("default")
            assert key("user 3") in before.user_keys
            assert before.prior is not None
            receipt = await p.forget("user 3")
            assert receipt.skills == (before.id,)
            assert receipt.verified
            await until(lambda: _has_skills(bank), 30)
            (after,) = await bank.skills("default")
            assert set(after.user_keys) == set(before.user_keys) - {key("user 3")}


async def _has_skills(bank: ScriptedBank) -> bool:
    return bool(await bank.inner.skills("default"))


async def test_late_episodes_are_refused_by_the_store(sqlite_url: str) -> None:
    async with open_adapter_store(sqlite_url) as store:
        async with Personalizer.open(make_config(), store=store, bank=ScriptedBank()) as p:
            await learn(p, "ada", 2)
            old = await store.get("ada")
            await p.forget("ada")
        assert old is not None
        assert old.adapter.pending is not None
        # Its episode, finished by somebody who kept the adapter from before.
        await store.commit(Change(old.adapter, key("ada"), None, (old.adapter.pending,)))
        assert (await store.counts()).queued == 0


async def test_what_a_dead_process_owed_the_bank_is_done_at_the_next_start(
    store_url: str,
) -> None:
    """The store has forgotten, the bank has not: nobody is left to say so but the store."""
    bank, time = ScriptedBank(), FakeTime()
    with anyio.fail_after(20):
        async with open_adapter_store(store_url) as store:
            async with Personalizer.open(
                make_config(), store=store, bank=bank, clock=time.clock
            ) as p:
                await learn(p, "ada", 4)
                await p._parts.upkeep.drain()
                bank.script["forget"] = failing()
                with pytest.raises(BankUnavailableError):
                    await p.forget("ada")
            assert await bank_ids(bank, "ada")
            del bank.script["forget"]
            time.advance(GRACE)
            async with Personalizer.open(make_config(), store=store, bank=bank, clock=time.clock):
                await until(lambda: _owes_nothing(store))
            assert await bank_ids(bank, "ada") == []


async def _owes_nothing(store: AdapterStore) -> bool:
    return not await store.duties("forget", math.inf)


class RefusingBank(ScriptedBank):
    """Notes what it is told to refuse, and how often it had to forget by then."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[tuple[str, str, float, int]] = []

    async def refuse(self, namespace: str, user_key: str, until: float) -> None:
        self.refused.append((namespace, user_key, until, self.calls["forget"]))


async def test_a_bank_that_can_is_told_first_what_to_refuse(sqlite_url: str) -> None:
    """By whoever forgets, and, if that one died, by whoever pays the debt."""
    time, bank = FakeTime(), RefusingBank()
    ada, bob = (("default", key(name), at) for name, at in (("ada", 5.0), ("bob", 9.0)))
    with anyio.fail_after(20):
        async with open_adapter_store(sqlite_url) as store:
            time.advance(ada[2] - time.clock.wall())
            async with Personalizer.open(
                make_config(), store=store, bank=bank, clock=time.clock
            ) as p:
                await p.forget("ada")
            assert bank.refused == [(*ada, 0)]
            await store.forget("bob", key("bob"), bob[2])
            time.advance(bob[2] + GRACE - time.clock.wall())
            async with Personalizer.open(make_config(), store=store, bank=bank, clock=time.clock):
                await until(lambda: _owes_nothing(store))
            assert bank.refused == [(*ada, 0), (*bob, 1)]
            assert bank.calls["forget"] == 2


async def test_a_receipt_settles_the_debt(store_url: str) -> None:
    async with open_adapter_store(store_url) as store:
        async with Personalizer.open(make_config(), store=store, bank=ScriptedBank()) as p:
            await learn(p, "ada", 2)
            assert (await p.forget("ada")).verified
            assert await store.duties("forget", math.inf) == []
        async with Personalizer.open(make_config(), store=store) as p:
            await p.forget("bob")  # no bank to ask now: it is asked when there is one
            assert [duty.key for duty in await store.duties("forget", math.inf)] == [key("bob")]


async def test_skills_that_lost_a_user_are_rebuilt_at_the_next_start() -> None:
    people, bank, time = People("mse"), ScriptedBank(lambda: 1e9), FakeTime()
    with anyio.fail_after(60):
        async with open_adapter_store("memory://") as store:
            opened = partial(Personalizer.open, people.config(), store=store, clock=time.clock)
            async with opened(bank=bank) as p:
                for user in range(72):
                    for i in range(2):
                        await p.learn(f"user {user}", people.feedback(user, i))
                await p._parts.upkeep.drain()
                await p.consolidate(ConsolidationCriteria(max_groups=0))
                (before,) = await bank.skills("default")
                bank.script["auto_consolidate"] = failing()
                await p.forget("user 3")
                await until(lambda: _called(bank, "auto_consolidate", 2))
            assert not await bank.skills("default")
            del bank.script["auto_consolidate"]
            async with opened(bank=bank):
                await until(lambda: _has_skills(bank), 30)
                await until(lambda: _is_rebuilt(store))
            users = {user for skill in await bank.skills("default") for user in skill.user_keys}
            assert users
            assert users <= set(before.user_keys) - {key("user 3")}


async def _called(bank: ScriptedBank, method: str, times: int) -> bool:
    return bank.calls[method] >= times


async def _is_rebuilt(store: AdapterStore) -> bool:
    return not await store.duties("rebuild", math.inf)


@pytest.mark.parametrize("error", [CapabilityError("no DELETE here"), KeyError("a bug")])
async def test_a_bank_that_never_forgets_does_not_hold_deliveries_back(
    store_url: str, error: Exception
) -> None:
    bank = ScriptedBank()
    bank.script["forget"] = failing(error)
    with anyio.fail_after(20):
        async with open_adapter_store(store_url) as store:
            await store.forget("ada", key("ada"), 0.0)
            async with Personalizer.open(make_config(), store=store, bank=bank) as p:
                await learn(p, "bob", 3)
                await p._parts.queue.emptied()
            assert len(await bank_ids(bank, "bob")) == 2
            assert [duty.key for duty in await store.duties("forget", math.inf)] == [key("ada")]


async def test_one_process_delivers_and_another_takes_over(sqlite_url: str) -> None:
    """The first one's time stands still, as if it hung: it does not prolong its lease."""
    first, second, frozen, time = ScriptedBank(), ScriptedBank(), FakeTime(), FakeTime()
    first.script["store_patterns"] = hanging
    second.inner = first.inner
    with anyio.fail_after(30):
        async with open_adapter_store(sqlite_url) as store:
            opened = partial(Personalizer.open, make_config(outbox=OutboxConfig(drain=0.1)))
            async with opened(store=store, bank=first, clock=frozen.clock) as one:
                await learn(one, "ada", 2)
                await first.started["store_patterns"].wait()
                async with opened(store=store, bank=second, clock=time.clock) as other:
                    await learn(other, "bob", 2)
                    for _ in range(int(LEASE) - 1):
                        time.advance(1.0)
                        await settle()
                    await other._parts.upkeep.seek_lead()
                    assert not other._parts.queue.leads
                    assert not second.calls["store_patterns"]
                    time.advance(1.0)
                    await other._parts.upkeep.seek_lead()
                    assert other._parts.queue.leads
                    await other._parts.queue.emptied()
                    assert len(await bank_ids(second)) == 2
