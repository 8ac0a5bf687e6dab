"""An update cancelled at every await: the old adapter stays valid, nothing acknowledged is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
import numpy as np
import pytest
from tests.engine.banks import (
    FakeTime,
    ScriptedBank,
    failing,
    make_config,
    make_feedback,
    run_updates,
)

import lorabank.engine.updating as updating_module
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank import OutboxConfig, QueryConfig, UpdateResult

CancelAt = Callable[[int, Coroutine[Any, Any, Any]], Awaitable[bool]]


@pytest.mark.parametrize("inline", [True, False], ids=["inline", "in a thread"])
async def test_cancelled_at_every_await(
    cancel_at: CancelAt, monkeypatch: pytest.MonkeyPatch, inline: bool
) -> None:
    monkeypatch.setattr(updating_module, "INLINE_WORK", 10**12 if inline else 0)
    config = make_config(query=QueryConfig(budget=5.0))
    for k in range(100):
        bank = ScriptedBank()
        with anyio.fail_after(5):
            async with Engine(config, bank) as engine:
                old, _ = await run_updates(engine, await engine.create_adapter("u"), 4)
                bytes_before = old.to_bytes()
                replay_before = engine.replay.size
                results: list[UpdateResult] = []

                async def update() -> None:
                    feedback = make_feedback(np.random.default_rng(9))
                    results.append(await engine.update_adapter(old, feedback))  # noqa: B023

                done = await cancel_at(k, update())
                assert old.to_bytes() == bytes_before
                assert (engine.replay.size > replay_before) == bool(results)
                assert engine.stats().updates == 4 + len(results)
                adapter, [report] = await run_updates(engine, old, 1, seed=8)
                assert report.episode == "queued"
        stored = {pattern.id: pattern for pattern in await bank.stored()}
        assert old.pending is not None
        assert adapter.pending is not None
        assert len(stored) == 5 + len(results), "nothing of a cancelled update, all of the others"
        assert stored[old.pending.id].outcome == report.finished.outcome  # type: ignore[union-attr]
        assert stored[adapter.pending.id].outcome is None
        if done:
            assert k >= 1
            return
    pytest.fail("never completed")


async def test_cancelled_while_it_waits_for_room(cancel_at: CancelAt) -> None:
    time = FakeTime()
    for k in range(100):
        bank = ScriptedBank()
        bank.script["store_patterns"] = failing()
        outbox = OutboxConfig(capacity=1, budget=0.02, pending=1)
        query = QueryConfig(budget=5.0, failures_to_open=10**6)
        config = make_config(outbox=outbox, query=query)
        with anyio.fail_after(5):
            async with Engine(config, bank, clock=time.clock) as engine:
                full, reports = await run_updates(engine, await engine.create_adapter("u"), 2)
                other, _ = await run_updates(engine, full, 1, seed=1)
                rejected = engine.stats().rejected
                results: list[UpdateResult] = []

                async def update() -> None:
                    feedback = make_feedback(np.random.default_rng(9))
                    results.append(await engine.update_adapter(other, feedback))  # noqa: B023

                done = await cancel_at(k, update())
                assert engine.stats().rejected == rejected + len(results)
                bank.script.clear()
                told = await engine.disconnect_reasoning_bank()
        assert told.undelivered == ()
        stored = await bank.stored()
        assert reports[1].finished is not None
        last = results[0].adapter if results else other
        assert last.pending is not None
        assert {p.id for p in stored} == {reports[1].finished.id, last.pending.id}
        if done:
            return
    pytest.fail("never completed")


@pytest.mark.parametrize("method", ["disconnect", "flush", "forget", "create"])
async def test_other_methods_cancelled_at_every_await(cancel_at: CancelAt, method: str) -> None:
    for k in range(200):
        bank = ScriptedBank()
        with anyio.fail_after(5):
            async with Engine(make_config(), bank) as engine:
                adapter, _ = await run_updates(engine, await engine.create_adapter("u"), 3)
                calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
                    "disconnect": engine.disconnect_reasoning_bank,
                    "flush": engine.flush,
                    "forget": lambda: engine.forget("another"),
                    "create": lambda: engine.create_adapter("v", context=np.ones(6)),
                }
                done = await cancel_at(k, calls[method]())
                adapter, _ = await run_updates(engine, adapter, 1)
        assert len({p.id for p in await bank.stored()}) == (3 if method == "disconnect" else 4)
        if done:
            return
    pytest.fail("never completed")
