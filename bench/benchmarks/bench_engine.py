"""Speed of `update_adapter` with a bank: its answer cached (warm), and asked for anew (cold).

    .venv/bin/python -m pytest bench/benchmarks -o python_files='bench_*.py' \
        -o python_functions='bench_*' --benchmark-enable --benchmark-only -n 0

One round is `UPDATES` updates, by a loop in a thread of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from pytest_benchmark.fixture import BenchmarkFixture

from lorabank import EmbeddingSpace, EngineConfig, QueryConfig, open_bank
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank_bench.episodes import filled
from lorabank_bench.setup import feedback, unit_rows

UPDATES = 20
PATTERNS = 10_000

dims = pytest.mark.parametrize("dim", [64, 384, 768])
ranks = pytest.mark.parametrize("rank", [4, 8, 16])
batches = pytest.mark.parametrize("batch", [1, 10, 50])


@pytest.fixture
def portal() -> Iterator[BlockingPortal]:
    """Into an event loop."""
    with start_blocking_portal() as opened:
        yield opened


@dims
@ranks
@batches
def bench_warm_update(
    benchmark: BenchmarkFixture, portal: BlockingPortal, dim: int, rank: int, batch: int
) -> None:
    """A user's next updates: the bank's answer is at hand."""
    config = EngineConfig(
        EmbeddingSpace("bench", dim), rank=rank, query=QueryConfig(refresh_every=10**9)
    )
    given = feedback(batch, dim)
    with portal.wrap_async_context_manager(Engine(config, "memory://")) as engine:
        adapter = portal.call(engine.create_adapter, "user")

        async def updates() -> None:
            nonlocal adapter
            for _ in range(UPDATES):
                adapter, _ = await engine.update_adapter(adapter, given)

        benchmark(portal.call, updates)


@dims
def bench_cold_update(benchmark: BenchmarkFixture, portal: BlockingPortal, dim: int) -> None:
    """New users' first updates, over a memory bank of `PATTERNS` patterns."""
    given, numbers = feedback(10, dim), itertools.count()
    with portal.wrap_async_context_manager(_over_a_full_bank(dim)) as engine:

        async def updates() -> None:
            for number in itertools.islice(numbers, UPDATES):
                adapter = await engine.create_adapter(f"user {number}")
                await engine.update_adapter(adapter, given)

        benchmark(portal.call, updates)


@asynccontextmanager
async def _over_a_full_bank(dim: int) -> AsyncIterator[Engine]:
    space = EmbeddingSpace("bench", dim)
    config = EngineConfig(space, rank=8, query=QueryConfig(refresh_every=1, budget=10.0))
    async with open_bank("memory://", space=space) as bank:
        await filled(bank, unit_rows(PATTERNS, dim))
        async with Engine(config, bank) as engine:
            yield engine
