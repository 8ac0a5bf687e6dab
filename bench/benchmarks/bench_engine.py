"""Time of a whole engine update with the memory bank, cold (asked) and warm (cached).

    .venv/bin/python -m pytest bench/benchmarks/bench_engine.py -o python_files='bench_*.py' \
        -o python_functions='bench_*' --benchmark-enable --benchmark-only -n 0

The memory of an adapter is in ``extra_info``: ``bytes`` of the object as it lives in the process,
without and with an EWC++ anchor and a trial in progress, and of what ``to_bytes`` gives.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import anyio.from_thread
import numpy as np
import pytest

from lorabank import (
    Adapter,
    EmbeddingSpace,
    EngineConfig,
    Feedback,
    Hyperparameters,
    QueryConfig,
    TrialConfig,
)
from lorabank import LoRAPersonalizationEngine as Engine

PATTERNS = 300  # what the bank holds before the clock starts
dims = pytest.mark.parametrize("dim", [64, 384, 768])
ranks = pytest.mark.parametrize("rank", [4, 8, 16])
batches = pytest.mark.parametrize("batch", [1, 10, 50])


@pytest.fixture
def portal() -> Iterator[anyio.from_thread.BlockingPortal]:
    """An event loop in a thread: pytest-benchmark itself is synchronous."""
    with anyio.from_thread.start_blocking_portal() as found:
        yield found


def config_of(dim: int, rank: int, **changes: Any) -> EngineConfig:
    query = QueryConfig(budget=10.0, refresh_every=1_000_000, cache_entries=1)
    options: dict[str, Any] = {"query": query, "trials": TrialConfig(probability=0.0)} | changes
    return EngineConfig(EmbeddingSpace("bench", dim), rank=rank, **options)


def feedback_of(dim: int, batch: int) -> Feedback:
    x = np.random.default_rng(0).standard_normal((batch, dim)).astype(np.float32)
    return Feedback(x, 0.5 * x)


async def update(engine: Engine, adapter: Adapter, feedback: Feedback, expected: str) -> None:
    _, report = await engine.update_adapter(adapter, feedback)
    assert report.cache == expected


async def filled(engine: Engine, dim: int) -> tuple[Adapter, Adapter]:
    """A bank with some patterns, and two users who take turns in a cache of one entry."""
    adapter = await engine.create_adapter("filler")
    for seed in range(PATTERNS):
        x = np.random.default_rng(seed).standard_normal((1, dim)).astype(np.float32)
        adapter, _ = await engine.update_adapter(adapter, Feedback(x, 0.5 * x))
    await engine.flush()
    return await engine.create_adapter("one"), await engine.create_adapter("two")


@dims
@ranks
@batches
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.benchmark(group="engine update")
def bench_update(
    benchmark: Any,
    portal: anyio.from_thread.BlockingPortal,
    dim: int,
    rank: int,
    batch: int,
    warm: bool,
) -> None:
    engine = Engine(config_of(dim, rank), "memory://")
    feedback = feedback_of(dim, batch)
    with portal.wrap_async_context_manager(engine):
        users = portal.call(filled, engine, dim)
        turn = iter(range(10**9))

        async def many() -> None:
            for _ in range(10):
                user = users[0] if warm else users[next(turn) % 2]
                await update(engine, user, feedback, "hit" if warm else "miss")

        portal.call(update, engine, users[0 if warm else 1], feedback, "miss")
        benchmark.extra_info["updates per round"] = 10
        benchmark.pedantic(portal.call, args=(many,), rounds=20, warmup_rounds=1)


@dims
@ranks
@pytest.mark.parametrize("state", ["plain", "anchored", "in a trial"])
@pytest.mark.benchmark(group="memory per adapter")
def bench_memory(
    benchmark: Any,
    portal: anyio.from_thread.BlockingPortal,
    dim: int,
    rank: int,
    state: str,
) -> None:
    """What is timed is one update; the bytes are in ``extra_info``."""
    ewc = 0.0 if state == "plain" else 0.1
    trials = TrialConfig(probability=1.0 if state == "in a trial" else 0.0)
    config = config_of(dim, rank, defaults=Hyperparameters(ewc_strength=ewc), trials=trials)
    engine, feedback = Engine(config, "memory://"), feedback_of(dim, 10)

    async def one() -> Adapter:
        adapter, _ = await engine.update_adapter(await engine.create_adapter("u"), feedback)
        return adapter

    with portal.wrap_async_context_manager(engine):
        data = portal.call(one).to_bytes()
        tracemalloc.start()
        adapter = Adapter.from_bytes(data)
        benchmark.extra_info["bytes"] = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        benchmark.extra_info["serialised"] = len(data)
        assert adapter.version == 1
        benchmark.pedantic(portal.call, args=(one,), rounds=20, warmup_rounds=1)
