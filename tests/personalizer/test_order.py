"""Who waits for whom: one user's updates run in order, different users' side by side."""

from __future__ import annotations

import anyio
import pytest
from tests.engine.banks import ScriptedBank, hanging, make_config, settle, waiting_for
from tests.personalizer.stores import ScriptedStore, batch, learn

from lorabank import OutboxConfig, QueryConfig
from lorabank.errors import InvalidInputError, StoreError, StoreUnavailableError
from lorabank.personalizer import Personalizer


async def test_one_user_one_at_a_time_in_order() -> None:
    store, at_once, most = ScriptedStore(), 0, 0

    async def enter() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()

    async def leave() -> None:
        nonlocal at_once
        at_once -= 1

    store.script["commit"], store.then["commit"] = enter, leave
    finished: list[int] = []
    with anyio.fail_after(10):
        async with Personalizer.open(make_config(), store=store) as p:

            async def one(number: int) -> None:
                await p.learn("ada", batch(number))
                finished.append(number)

            async with anyio.create_task_group() as group:
                for number in range(20):
                    group.start_soon(one, number)
                    await settle()
    assert finished == list(range(20))
    assert most == 1
    assert store.committed == [("ada", version) for version in range(1, 21)]


async def test_different_users_side_by_side() -> None:
    store, together = ScriptedStore(), anyio.Event()
    waiting = 0

    async def meet() -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 8:
            together.set()
        await together.wait()

    store.script["commit"] = meet
    with anyio.fail_after(10):
        async with (
            Personalizer.open(make_config(), store=store) as p,
            anyio.create_task_group() as group,
        ):
            for number in range(8):
                group.start_soon(p.learn, f"user {number}", batch(number))
    assert waiting == 8


async def test_no_more_than_allowed_at_once_and_impatience_is_typed() -> None:
    store, gate = ScriptedStore(), anyio.Event()
    store.script["commit"] = waiting_for(gate)
    with anyio.fail_after(10):
        async with Personalizer.open(make_config(), store=store, concurrency=2, patience=0.05) as p:
            async with anyio.create_task_group() as group:
                for number in range(2):
                    group.start_soon(p.learn, f"user {number}", batch(number))
                await settle()
                assert store.calls["commit"] == 2
                with pytest.raises(StoreUnavailableError, match="no turn"):
                    await p.learn("late", batch(9))
                with pytest.raises(StoreUnavailableError, match="no turn"):
                    await p.learn("user 0", batch(9))
                assert store.calls["commit"] == 2
                # Those that had their turn are not cut off, however long it takes.
                gate.set()
            await p.learn("late", batch(9))
    assert sorted(store.committed) == [("late", 1), ("user 0", 1), ("user 1", 1)]


async def test_hot_adapters_are_bounded_and_the_least_used_goes_first() -> None:
    store = ScriptedStore()
    with anyio.fail_after(10):
        async with Personalizer.open(make_config(), store=store, hot_adapters=3) as p:
            for user in ("a", "b", "c", "a", "d"):
                await p.learn(user, batch(1))
            store.calls.clear()
            for user in ("a", "c", "d"):
                await p.transform(user, batch(1).x)
            assert store.calls["get"] == 0
            await p.transform("b", batch(1).x)
            assert store.calls["get"] == 1
            assert len(p._parts.adapters) == 3


async def test_a_cancelled_caller_leaves_its_place() -> None:
    store, gate = ScriptedStore(), anyio.Event()
    store.script["commit"] = waiting_for(gate)
    with anyio.fail_after(10):
        async with Personalizer.open(make_config(), store=store, concurrency=1) as p:
            async with anyio.create_task_group() as group:
                group.start_soon(p.learn, "ada", batch(1))
                await settle()
                for user in ("ada", "bob"):
                    with anyio.move_on_after(0.01):
                        await p.learn(user, batch(2))
                gate.set()
            await learn(p, "ada", 1)
            await learn(p, "bob", 1)
            assert not p._parts.locks._entries
    assert store.committed == [("ada", 1), ("ada", 2), ("bob", 1)]


@pytest.mark.parametrize("user", ["", "\ud800", 5, None])
async def test_bad_user_ids_are_refused_and_nothing_breaks(user: str, sqlite_url: str) -> None:
    async with Personalizer.open(make_config(), store=sqlite_url) as p:
        for call in (
            lambda: p.learn(user, batch(1)),
            lambda: p.transform(user, batch(1).x),
            lambda: p.rank(user, batch(1).x[0], batch(2).x),
            lambda: p.forget(user),
        ):
            with pytest.raises(InvalidInputError, match="user_id"):
                await call()
        await learn(p, "ada", 1)


@pytest.mark.parametrize(
    "setting",
    [{"hot_adapters": 0}, {"concurrency": 0}, {"patience": 0.0}, {"fresh_for": -1.0}],
)
async def test_bad_settings(setting: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError):
        async with Personalizer.open(make_config(), **setting):  # type: ignore[arg-type]
            pass


@pytest.mark.parametrize(
    "url", ["app.db", "sqlite://", "sqlite:///", "memory://x", "sqlite:///a?b=1", "sqlite:///a#b"]
)
async def test_bad_urls(url: str) -> None:
    with pytest.raises(InvalidInputError):
        async with Personalizer.open(make_config(), store=url):
            pass


async def test_errors_of_the_block_pass_by_bare(store_url: str) -> None:
    async def fail() -> None:
        async with Personalizer.open(make_config(), store=store_url, bank=ScriptedBank()) as p:
            await learn(p, "ada", 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_an_unopenable_store_opens_no_bank() -> None:
    bank = ScriptedBank()
    with pytest.raises(StoreError):
        async with Personalizer.open(make_config(), store="sqlite:///no/such/x.db", bank=bank):
            pass
    assert not bank.calls


async def test_a_hanging_bank_costs_each_update_its_budget_only(store_url: str) -> None:
    bank = ScriptedBank()
    for method in ("retrieve_patterns", "learn_strategy", "store_patterns", "skills"):
        bank.script[method] = hanging
    config = make_config(
        query=QueryConfig(budget=0.02), outbox=OutboxConfig(drain=0.05, deadline=0.05)
    )
    with anyio.fail_after(10):
        async with Personalizer.open(config, store=store_url, bank=bank) as p:
            started = anyio.current_time()
            reports = await learn(p, "ada", 10)
            assert anyio.current_time() - started < 5
            assert {report.cache for report in reports} <= {"timeout", "failed", "degraded"}
            _, counts = await p.stats()
            assert counts.queued == 9
