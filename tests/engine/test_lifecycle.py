"""Opening and closing: who owns what, in which task, and what comes out of the body."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.from_thread
import numpy as np
import pytest
from tests.engine.banks import (
    SPACE,
    ScriptedBank,
    hanging,
    make_config,
    make_feedback,
    run_updates,
)

from lorabank import (
    Adapter,
    BankUnavailableError,
    EngineClosedError,
    EngineConfig,
    OutboxConfig,
)
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank.engine import connecting, updating


@pytest.fixture
def by_url(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ScriptedBank]:
    """Makes ``open_bank`` give a bank whose opening and closing are recorded."""

    def install(close_error: Exception | None = None) -> ScriptedBank:
        bank = ScriptedBank()

        @contextlib.asynccontextmanager
        async def opened(url: str, **options: object) -> AsyncIterator[ScriptedBank]:
            await bank.bind(SPACE)
            bank.calls["opened"] += 1
            opener = anyio.get_current_task().id
            async with anyio.create_task_group() as own:  # as a transport has
                own.start_soon(anyio.sleep_forever)
                try:
                    yield bank
                finally:
                    with anyio.CancelScope(shield=True):
                        await anyio.lowlevel.checkpoint()
                    assert anyio.get_current_task().id == opener
                    own.cancel_scope.cancel()
            bank.calls["closed"] += 1
            if close_error is not None:
                raise close_error

        monkeypatch.setattr(connecting, "open_bank", opened)
        return bank

    return install


async def test_every_method_needs_an_open_engine() -> None:
    engine = Engine(make_config())

    async def uses(adapter: Adapter) -> None:
        rng = np.random.default_rng(0)
        for use in (
            lambda: engine.create_adapter("u"),
            lambda: engine.update_adapter(adapter, make_feedback(rng)),
            lambda: engine.connect_reasoning_bank("memory://"),
            lambda: engine.disconnect_reasoning_bank(),
            lambda: engine.flush(),
            lambda: engine.forget("u"),
            lambda: engine.get_similar_adaptations(np.ones(6)),
            lambda: engine.consolidate_adaptation_patterns(),
        ):
            with pytest.raises(EngineClosedError, match="async with"):
                await use()
        with pytest.raises(EngineClosedError):
            engine.merge_adapters([adapter])

    async with Engine(make_config()) as other:
        adapter = await other.create_adapter("u")
    await uses(adapter)
    async with engine:
        with pytest.raises(EngineClosedError, match="already open"):
            await engine.__aenter__()
    await uses(adapter)
    assert engine.stats().bank == "disconnected"


def test_an_engine_can_be_made_outside_of_any_event_loop() -> None:
    Engine(make_config(consolidate_every=1.0), "memory://")


@pytest.mark.parametrize("bank", [None, "memory://"])
async def test_exceptions_of_the_body_come_out_bare(bank: str | None) -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with Engine(make_config(), bank):
            raise error
    assert caught.value is error


async def test_outer_cancellation_still_delivers_what_was_acknowledged() -> None:
    bank = ScriptedBank()
    with anyio.fail_after(5), anyio.CancelScope() as scope:
        async with Engine(make_config(), bank) as engine:
            await run_updates(engine, await engine.create_adapter("u"), 3)
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert len(await bank.stored()) == 3


async def test_outer_cancellation_does_not_take_a_banks_own_tasks_before_the_drain(
    by_url: Callable[..., ScriptedBank],
) -> None:
    bank = by_url()
    with anyio.fail_after(5), anyio.CancelScope() as scope:
        async with Engine(make_config(), "scripted://") as engine:
            await run_updates(engine, await engine.create_adapter("u"), 3)
            scope.cancel()
            await anyio.sleep_forever()
    assert len(await bank.stored()) == 3
    assert bank.calls["closed"] == 1


async def test_a_bank_by_url_is_opened_and_closed_in_one_task_of_its_own(
    by_url: Callable[..., ScriptedBank],
) -> None:
    bank = by_url()
    async with Engine(make_config(), "scripted://") as engine:
        assert bank.calls == {"bind": 1, "opened": 1}
        await engine.disconnect_reasoning_bank()
        assert bank.calls["closed"] == 1, "disconnecting waits for the bank's own closing"
        async with anyio.create_task_group() as group:  # connected from another task
            group.start_soon(engine.connect_reasoning_bank, "scripted://")
        assert (bank.calls["opened"], bank.calls["closed"]) == (2, 1)
    assert bank.calls["closed"] == 2


async def test_an_instance_is_bound_but_never_closed() -> None:
    bank = ScriptedBank()
    async with Engine(make_config(), bank):
        assert bank.space == SPACE
    assert await bank.inner.store.stats("default")


async def test_a_bank_that_fails_to_close_harms_nobody(
    by_url: Callable[..., ScriptedBank],
) -> None:
    by_url(OSError("torn"))
    async with Engine(make_config(), "scripted://") as engine:
        adapter, _ = await run_updates(engine, await engine.create_adapter("u"), 2)
        report = await engine.disconnect_reasoning_bank()
        assert (report.delivered, report.undelivered) == (2, ())
        await anyio.lowlevel.checkpoint()
        await run_updates(engine, adapter, 1)


@pytest.fixture
def hangs_while_closing(monkeypatch: pytest.MonkeyPatch) -> EngineConfig:
    """What ``scripted://`` opens; the config with little patience for it."""

    @contextlib.asynccontextmanager
    async def opened(url: str, **options: object) -> AsyncIterator[ScriptedBank]:
        yield ScriptedBank()
        await hanging()

    monkeypatch.setattr(connecting, "open_bank", opened)
    monkeypatch.setattr(connecting, "CLOSING", 0.05)
    return make_config(outbox=OutboxConfig(drain=0.05))


async def test_a_bank_that_hangs_while_closing_is_given_up(
    hangs_while_closing: EngineConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(5):
        async with Engine(hangs_while_closing, "scripted://"):
            pass
    assert "the bank did not close in time" in caplog.text


def test_it_is_given_up_though_nobody_waits_for_it_any_more(
    hangs_while_closing: EngineConfig,
) -> None:
    """asyncio's own timeouts cancel without a scope, and no shield keeps them off."""

    async def play() -> None:
        async with Engine(hangs_while_closing, "scripted://") as engine:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(engine.disconnect_reasoning_bank(), 0.01)

    asyncio.run(play())


async def test_a_bank_that_hangs_while_opening_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bank = ScriptedBank()
    bank.script["bind"] = hanging
    monkeypatch.setattr(connecting, "OPENING", 0.05)
    with anyio.fail_after(5):
        async with Engine(make_config()) as engine:
            with pytest.raises(BankUnavailableError, match=r"0\.05"):
                await engine.connect_reasoning_bank(bank)
            assert not engine.has_reasoning_bank()


async def test_an_update_that_outlasts_its_bank_goes_on_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It had not asked yet when its connection was drained and closed."""
    began, may_go_on = anyio.Event(), threading.Event()
    prepare = updating.prepare_with_experts

    def prepare_for_long(*arguments: Any) -> Any:
        anyio.from_thread.run_sync(began.set)
        assert may_go_on.wait(10)
        return prepare(*arguments)

    monkeypatch.setattr(updating, "prepare_with_experts", prepare_for_long)
    monkeypatch.setattr(updating, "INLINE_WORK", 0)
    bank, reports = ScriptedBank(), []

    async def update() -> None:
        _, found = await run_updates(engine, await engine.create_adapter("u"), 1)
        reports.extend(found)

    async with (
        Engine(make_config(outbox=OutboxConfig(drain=0.01)), bank) as engine,
        anyio.create_task_group() as group,
    ):
        group.start_soon(update)
        await began.wait()
        await engine.disconnect_reasoning_bank()
        may_go_on.set()
    assert [(report.cache, report.episode) for report in reports] == [("disconnected", "rejected")]
    assert not bank.calls["learn_strategy"]


async def test_a_bank_that_breaks_down_by_itself_harms_no_update(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bank, breaks, broken = ScriptedBank(), anyio.Event(), anyio.Event()

    async def break_down() -> None:
        await breaks.wait()
        raise OSError("the connection is gone")

    @contextlib.asynccontextmanager
    async def opened(url: str, **options: object) -> AsyncIterator[ScriptedBank]:
        try:
            async with anyio.create_task_group() as own:
                own.start_soon(break_down)
                yield bank
        finally:
            broken.set()

    monkeypatch.setattr(connecting, "open_bank", opened)
    with anyio.fail_after(10):
        async with Engine(make_config(), "scripted://") as engine:
            adapter, _ = await run_updates(engine, await engine.create_adapter("u"), 1)
            breaks.set()
            await broken.wait()
            _, reports = await run_updates(engine, adapter, 2)
            left = await engine.disconnect_reasoning_bank()
    assert [report.episode for report in reports] == ["rejected", "rejected"]
    assert len(left.undelivered) + left.delivered == 1
