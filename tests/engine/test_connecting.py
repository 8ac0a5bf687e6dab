"""Connecting: what is refused, and that the engine stays as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest
from tests.engine.banks import (
    ScriptedBank,
    failing,
    hanging,
    make_config,
    run_updates,
    settle,
    waiting_for,
)

from lorabank import (
    BankError,
    BankRejectedError,
    EmbeddingSpace,
    EmbeddingSpaceError,
    EngineClosedError,
    InvalidInputError,
    QueryConfig,
    StandardBank,
    UnknownBackendError,
)
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank_memory import MemoryStore


async def foreign_bank() -> StandardBank:
    bank = StandardBank(MemoryStore())
    await bank.bind(EmbeddingSpace("another", 6))
    return bank


def rejecting_bank() -> ScriptedBank:
    bank = ScriptedBank()
    bank.script["bind"] = failing(BankRejectedError("forbidden"))
    return bank


async def test_an_unknown_backend_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorabank.bank.discovery.entry_points", lambda **_: ())
    with pytest.raises(UnknownBackendError, match="pip install lorabank-faiss"):
        async with Engine(make_config(), "faiss:///somewhere"):
            pytest.fail("opened")
    async with Engine(make_config()) as engine:
        with pytest.raises(UnknownBackendError, match="pip install lorabank-faiss"):
            await engine.connect_reasoning_bank("faiss:///somewhere")
        assert engine.bank_state == "disconnected"


async def test_a_refused_bank_leaves_the_engine_as_it_was() -> None:
    bank = ScriptedBank()
    wrong: list[tuple[object, type[Exception]]] = [
        (await foreign_bank(), EmbeddingSpaceError),
        (rejecting_bank(), BankRejectedError),
        ("nowhere:///x", UnknownBackendError),
        ("no url", InvalidInputError),
        (42, InvalidInputError),
        (object(), InvalidInputError),
    ]
    async with Engine(make_config(), bank) as engine:
        adapter, _ = await run_updates(engine, await engine.create_adapter("u"), 2)
        before = engine.stats()
        for source, error in wrong:
            with pytest.raises(error):
                await engine.connect_reasoning_bank(source)  # type: ignore[arg-type]
            assert engine.bank_state == "connected"
            assert engine.stats().cache_entries == before.cache_entries
        _, reports = await run_updates(engine, adapter, 1)
        assert (reports[0].cache, reports[0].episode) == ("hit", "queued")
    assert len(await bank.stored()) == 3


@pytest.mark.parametrize("source", ["nowhere:///x", "memory://with-a-host"])
async def test_an_engine_whose_first_bank_fails_is_not_open(source: str) -> None:
    engine = Engine(make_config(), source)
    with pytest.raises((BankError, InvalidInputError)):
        async with engine:
            pytest.fail("opened")
    async with Engine(make_config()) as other:
        adapter = await other.create_adapter("u")
    with pytest.raises(Exception, match="async with"):
        engine.merge_adapters([adapter])


async def test_cancelled_while_opening() -> None:
    bank = ScriptedBank()
    bank.script["bind"] = hanging
    with anyio.fail_after(5), anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel_once_started() -> None:
                await bank.started["bind"].wait()
                scope.cancel()

            group.start_soon(cancel_once_started)
            async with Engine(make_config(), bank):
                pytest.fail("opened")
    assert scope.cancelled_caught


async def test_cancelling_a_connect_keeps_the_old_bank() -> None:
    old, slow = ScriptedBank(), ScriptedBank()
    slow.script["bind"] = hanging
    async with Engine(make_config(), old) as engine:
        adapter = await engine.create_adapter("u")
        async with anyio.create_task_group() as group:
            group.start_soon(engine.connect_reasoning_bank, slow)
            await slow.started["bind"].wait()
            group.cancel_scope.cancel()
        assert engine.has_reasoning_bank()
        await run_updates(engine, adapter, 2)
    assert len(await old.stored()) == 2


async def test_cancelling_a_connect_at_every_await_leaves_one_bank_or_the_other(
    cancel_at: Callable[..., object],
) -> None:
    for k in range(200):
        old, new = ScriptedBank(), ScriptedBank()
        with anyio.fail_after(5):
            async with Engine(make_config(), old) as engine:
                adapter, _ = await run_updates(engine, await engine.create_adapter("u"), 1)
                done = await cancel_at(k, engine.connect_reasoning_bank(new))  # type: ignore[misc]
                assert engine.has_reasoning_bank()
                await run_updates(engine, adapter, 1)
        ids = {p.id for p in [*await old.stored(), *await new.stored()]}
        assert len(ids) == 2
        if done:
            return
    pytest.fail("never completed")


async def test_nobody_connects_to_an_engine_that_closes() -> None:
    """Not while the last episodes are delivered either; whose bank still opens is told at once."""
    bank, slow, late = ScriptedBank(), ScriptedBank(), ScriptedBank()
    may_deliver, told = anyio.Event(), anyio.Event()
    bank.script["store_patterns"] = waiting_for(may_deliver)
    slow.script["bind"] = hanging
    engine = Engine(make_config(), bank)

    async def connect_before() -> None:
        with pytest.raises(EngineClosedError):
            await engine.connect_reasoning_bank(slow)
        told.set()

    async def connect_meanwhile() -> None:
        await told.wait()
        with pytest.raises(EngineClosedError):
            await engine.connect_reasoning_bank(late)
        may_deliver.set()

    async with anyio.create_task_group() as group:
        with anyio.fail_after(10):
            async with engine:
                group.start_soon(connect_before)
                group.start_soon(connect_meanwhile)
                await run_updates(engine, await engine.create_adapter("u"), 2)
                await bank.started["store_patterns"].wait()
                await slow.started["bind"].wait()
    assert len(await bank.stored()) == 2
    assert not late.calls


async def test_a_bank_that_opens_as_the_engine_closes_is_closed_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for turns in range(20):
        bank = ScriptedBank()
        engine = Engine(make_config(), None)

        async def connect(engine: Engine = engine, bank: ScriptedBank = bank) -> None:
            with contextlib.suppress(EngineClosedError):
                await engine.connect_reasoning_bank(bank)

        async with anyio.create_task_group() as group:
            with anyio.fail_after(10):
                async with engine:
                    group.start_soon(connect)
                    for _ in range(turns):
                        await anyio.lowlevel.checkpoint()
        assert not engine.has_reasoning_bank()
    assert not caplog.records, "nothing was lost"


async def test_no_task_outlives_the_engine() -> None:
    async def alive() -> int:
        await settle()
        return len(anyio.get_running_tasks())

    before = await alive()
    bank = ScriptedBank()
    bank.script["retrieve_patterns"] = hanging
    config = make_config(consolidate_every=60.0, query=QueryConfig(budget=0.01))
    async with Engine(config, bank) as engine:
        await run_updates(engine, await engine.create_adapter("u"), 2)
        await engine.connect_reasoning_bank("memory://")
    assert await alive() == before
