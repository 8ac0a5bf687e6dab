"""How long the event loop is held: a task that wants its turn every millisecond looks at the clock.

The wall's delay also counts what the rest of the machine did. The loop's own CPU time between two
beats does not; it can't see a loop that is held without working.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter, thread_time

import anyio
import numpy as np

from lorabank import EmbeddingSpace, EngineConfig, ItemPool, Personalizer, QueryConfig, open_bank
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank.types.feedback import Feedback
from lorabank_bench.episodes import filled
from lorabank_bench.looping import in_loop
from lorabank_bench.results import Figure, Results
from lorabank_bench.setup import Setup, feedback, unit_rows

EVERY, LIMIT = 1e-3, 5.0

Scenario = Callable[[Setup], Awaitable[list[tuple[float, float]]]]


class Heart:
    """Delays of its beats: (wall, CPU of the loop's thread), in seconds."""

    def __init__(self) -> None:
        self.beats: list[tuple[float, float]] = []

    async def beat(self) -> None:
        """Until cancelled."""
        while True:
            started, worked = perf_counter(), thread_time()
            await anyio.sleep(EVERY)
            self.beats.append((perf_counter() - started - EVERY, thread_time() - worked))


@asynccontextmanager
async def beating() -> AsyncIterator[list[tuple[float, float]]]:
    """A heart that beats beside a block."""
    heart = Heart()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heart.beat)
        await anyio.sleep(5 * EVERY)
        heart.beats.clear()
        yield heart.beats
        await anyio.sleep(5 * EVERY)
        tasks.cancel_scope.cancel()


def heartbeat(setup: Setup, results: Results) -> None:
    """Each scenario on asyncio and on trio."""
    for backend in ("asyncio", "trio"):
        for name, scenario in SCENARIOS.items():
            beats = np.array(in_loop(partial(scenario, setup), backend))
            wall, cpu = 1e3 * beats.T
            what = f"{name}, {backend}"
            results.add(Figure("heartbeat", what, "longest, wall", wall.max(), "ms"))
            p999 = float(np.percentile(wall, 99.9))
            results.add(Figure("heartbeat", what, "p99.9, wall", p999, "ms"))
            results.add(Figure("heartbeat", what, "longest, CPU of the loop", cpu.max(), "ms"))
            longest = float(cpu.max())
            found = f"{longest:.1f} ms of CPU (wall: {wall.max():.1f} ms)"
            results.mark(f"loop held: {what}", f"<= {LIMIT:g} ms", found, longest <= LIMIT)


async def _warm(setup: Setup) -> list[tuple[float, float]]:
    config = EngineConfig(EmbeddingSpace("bench", 384), query=QueryConfig(refresh_every=10**6))
    return await _updates(config, feedback(10, 384), 500 if setup.quick else 5_000)


async def _big(setup: Setup) -> list[tuple[float, float]]:
    config = EngineConfig(EmbeddingSpace("bench", 768), rank=32)
    return await _updates(config, feedback(1000, 768), 5 if setup.quick else 30)


async def _contrastive(setup: Setup) -> list[tuple[float, float]]:
    pool = ItemPool(unit_rows(1_000 if setup.quick else 10_000, 768))
    config = EngineConfig(EmbeddingSpace("bench", 768), rank=32, objective="contrastive")
    batch = Feedback(unit_rows(1000, 768, 1), items=np.arange(1000) % len(pool))
    return await _updates(config, batch, 5 if setup.quick else 20, pool)


async def _updates(
    config: EngineConfig, batch: Feedback, count: int, pool: ItemPool | None = None
) -> list[tuple[float, float]]:
    async with Engine(config, "memory://", items=pool) as engine, beating() as beats:
        adapter = await engine.create_adapter("user")
        for _ in range(count):
            adapter, _ = await engine.update_adapter(adapter, batch)
    return beats


async def _cold(setup: Setup) -> list[tuple[float, float]]:
    """A bank of 100k patterns, asked by new users, then consolidated."""
    space = EmbeddingSpace("bench", 384)
    query = QueryConfig(refresh_every=1, budget=10.0)
    async with open_bank("memory://", space=space) as bank:
        await filled(bank, unit_rows(2_000 if setup.quick else 100_000, 384))
        async with Engine(EngineConfig(space, query=query), bank) as engine, beating() as beats:
            for i in range(20 if setup.quick else 100):
                adapter = await engine.create_adapter(f"user {i}")
                await engine.update_adapter(adapter, feedback(10, 384, i))
    return beats


async def _consolidation(setup: Setup) -> list[tuple[float, float]]:
    """Many users' episodes turned into skills, priors trained."""
    space = EmbeddingSpace("bench", 64)
    users = 50 if setup.quick else 300
    async with Engine(EngineConfig(space, rank=4), "memory://") as engine:
        for i in range(users):
            adapter = await engine.create_adapter(f"user {i}")
            for turn in range(4):
                adapter, _ = await engine.update_adapter(adapter, feedback(8, 64, 10 * i + turn))
        await engine.flush()
        async with beating() as beats:
            await engine.consolidate_adaptation_patterns()
    return beats


async def _ranking(setup: Setup) -> list[tuple[float, float]]:
    pool = ItemPool(unit_rows(10_000 if setup.quick else 100_000, 384))
    config = EngineConfig(EmbeddingSpace("bench", 384))
    async with Personalizer.open(config, items=pool) as p, beating() as beats:
        for i in range(50):
            await p.rank("user", pool.vectors[i])
    return beats


SCENARIOS: Mapping[str, Scenario] = {
    "warm updates in a row": _warm,
    "cold updates, bank of 100k": _cold,
    "consolidation": _consolidation,
    "batches of 1000 x 768, rank 32": _big,
    "contrastive, 1000 x 768, 10k items": _contrastive,
    "rank over 100k items": _ranking,
}
