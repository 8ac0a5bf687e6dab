"""Streams of updates: values stay values, and nothing around them changes the numbers."""

from __future__ import annotations

import time
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import pytest
from tests.engine.banks import (
    SPACE,
    FakeTime,
    make_config,
)

import lorabank.engine.updating as updating_module
from lorabank import (
    Adapter,
    EmbeddingSpace,
    EngineConfig,
    Feedback,
    Hyperparameters,
    ItemPool,
    QueryConfig,
    TrialConfig,
)
from lorabank import LoRAPersonalizationEngine as Engine

EWC = Hyperparameters(ewc_strength=0.1)
TRIALS = TrialConfig(probability=0.5, updates=2)


def pool() -> ItemPool:
    vectors = np.random.default_rng(3).standard_normal((20, SPACE.dim))
    return ItemPool(vectors, np.arange(20))


def item_feedback(seed: int, n: int = 4) -> Feedback:
    rng = np.random.default_rng(seed)
    items = rng.integers(0, 20, n)
    return Feedback(pool().vectors[items] + rng.standard_normal((n, 6)), items=items)


@pytest.mark.parametrize("objective", ["mse", "contrastive"])
async def test_the_old_adapter_is_untouched_and_old_batches_too(objective: str) -> None:
    config = make_config(objective=objective, defaults=EWC, trials=TRIALS)
    async with Engine(config, "memory://", items=pool()) as engine:
        adapter = await engine.create_adapter("u")
        for seed in range(6):
            feedback = item_feedback(seed)
            before, x = adapter.to_bytes(), feedback.x.copy()
            new, report = await engine.update_adapter(adapter, feedback)
            assert adapter.to_bytes() == before
            assert np.array_equal(feedback.x, x)
            assert (report.plain_mse is None) == (objective == "contrastive")
            adapter = new
        with pytest.raises(ValueError, match="read-only"):
            adapter.A[0, 0] = 1.0


@pytest.mark.parametrize("objective", ["mse", "contrastive"])
@pytest.mark.parametrize("threads", [False, True])
async def test_bytes_in_the_middle_of_a_stream_change_nothing(
    objective: str, threads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do worker threads, nor a second engine, nor running it again."""
    config = make_config(objective=objective, defaults=EWC, trials=TRIALS)

    async def stream(*, through_bytes: bool) -> tuple[bytes, list[tuple[Any, ...]]]:
        numbers = []
        async with (
            Engine(config, "memory://", items=pool(), clock=FakeTime().clock) as one,
            Engine(config, "memory://", items=pool(), clock=FakeTime().clock) as two,
        ):
            adapter = await one.create_adapter("u")
            for seed in range(12):
                engine = one
                if through_bytes:
                    adapter = Adapter.from_bytes(adapter.to_bytes())
                    engine = (one, two)[seed % 2]
                adapter, report = await engine.update_adapter(adapter, item_feedback(seed))
                outcome = report.finished and report.finished.outcome
                trial = report.finished and report.finished.trial
                numbers.append((report.loss_after, report.gradient_norm, outcome, trial))
        return adapter.weights.A.tobytes() + adapter.weights.B.tobytes(), numbers

    plain = await stream(through_bytes=False)
    monkeypatch.setattr(updating_module, "INLINE_WORK", 0 if threads else 10**12)
    again = await stream(through_bytes=True)
    assert again == plain
    assert any(trial is not None for *_, trial in plain[1])


async def test_other_users_and_seeds_differ() -> None:
    async with Engine(make_config()) as engine, Engine(make_config(seed=1)) as other:
        u, v = await engine.create_adapter("u"), await engine.create_adapter("v")
        again, elsewhere = await engine.create_adapter("u"), await other.create_adapter("u")
    assert np.array_equal(u.A, again.A)
    assert not np.array_equal(u.A, v.A)
    assert not np.array_equal(u.A, elsewhere.A)


async def test_large_work_runs_in_a_thread_while_the_loop_ticks() -> None:
    space = EmbeddingSpace("large", 768)
    config = EngineConfig(space, rank=16, query=QueryConfig(budget=5.0))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 768)).astype(np.float32)
    gaps: list[float] = []

    async def tick(scope: anyio.CancelScope) -> None:
        with scope:
            last = time.perf_counter()
            while True:
                await anyio.lowlevel.checkpoint()
                now = time.perf_counter()
                gaps.append(now - last)
                last = now

    async with Engine(config) as engine:
        adapter, feedback = await engine.create_adapter("u"), Feedback(x, 0.5 * x)
        scope = anyio.CancelScope()
        async with anyio.create_task_group() as group:
            group.start_soon(tick, scope)
            await engine.update_adapter(adapter, feedback)
            scope.cancel()
    assert len(gaps) > 20
