"""Memory of an adapter, in several states. `lorabank-bench` measures the time of updates.

    .venv/bin/python -m pytest bench/benchmarks/bench_memory.py -o python_files='bench_*.py' \
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

dims = pytest.mark.parametrize("dim", [64, 384, 768])
ranks = pytest.mark.parametrize("rank", [4, 8, 16])


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
