"""Updates and consolidation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from lorabank import EmbeddingSpace, EngineConfig, ItemPool, QueryConfig
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank.types.feedback import Feedback
from lorabank_bench.scenes.base import Work
from lorabank_bench.setup import Setup, feedback, unit_rows


@asynccontextmanager
async def _warm(setup: Setup) -> AsyncIterator[Work]:
    config = EngineConfig(EmbeddingSpace("bench", 384), query=QueryConfig(refresh_every=10**6))
    async with _updates(config, feedback(10, 384), 500 if setup.quick else 3_000) as work:
        yield work


@asynccontextmanager
async def _big(setup: Setup) -> AsyncIterator[Work]:
    config = EngineConfig(EmbeddingSpace("bench", 768), rank=32)
    async with _updates(config, feedback(1000, 768), 5 if setup.quick else 20) as work:
        yield work


@asynccontextmanager
async def _contrastive(setup: Setup) -> AsyncIterator[Work]:
    pool = ItemPool(unit_rows(1_000 if setup.quick else 10_000, 768))
    config = EngineConfig(EmbeddingSpace("bench", 768), rank=32, objective="contrastive")
    batch = Feedback(unit_rows(1000, 768, 1), items=np.arange(1000) % len(pool))
    async with _updates(config, batch, 5 if setup.quick else 15, pool) as work:
        yield work


@asynccontextmanager
async def _updates(
    config: EngineConfig, batch: Feedback, count: int, pool: ItemPool | None = None
) -> AsyncIterator[Work]:
    async with Engine(config, "memory://", items=pool) as engine:
        adapter = await engine.create_adapter("user")

        async def work() -> None:
            nonlocal adapter
            for _ in range(count):
                adapter, _ = await engine.update_adapter(adapter, batch)

        yield work


@asynccontextmanager
async def _consolidation(setup: Setup) -> AsyncIterator[Work]:
    """Many users' episodes turned into skills, priors trained."""
    config = EngineConfig(EmbeddingSpace("bench", 64), rank=4)
    async with Engine(config, "memory://") as engine:
        for i in range(50 if setup.quick else 2_000):
            adapter = await engine.create_adapter(f"user {i}")
            for turn in range(4):
                adapter, _ = await engine.update_adapter(adapter, feedback(8, 64, 10 * i + turn))
        await engine.flush()
        yield engine.consolidate_adaptation_patterns


@asynccontextmanager
async def _population(setup: Setup) -> AsyncIterator[Work]:
    """The same where the items are known: what everyone shares is trained as well."""
    items, users = (200, 60) if setup.quick else (5_000, 500)
    pool = ItemPool(unit_rows(items, 64))
    rng = np.random.default_rng(0)
    config = EngineConfig(EmbeddingSpace("bench", 64), rank=4, objective="contrastive")
    async with Engine(config, "memory://", items=pool) as engine:
        for i in range(users):
            adapter = await engine.create_adapter(f"user {i}")
            for _ in range(3):
                liked = (items * rng.beta(1, 8, 10)).astype(np.int64)  # some items are popular
                batch = Feedback(pool.vectors[liked][::-1].copy(), items=liked)
                adapter, _ = await engine.update_adapter(adapter, batch)
        await engine.flush()
        yield engine.consolidate_adaptation_patterns


LEARNING_SCENES = {
    "warm updates in a row": _warm,
    "batches of 1000 x 768, rank 32": _big,
    "contrastive, 1000 x 768, 10k items": _contrastive,
    "consolidation, 2000 users": _consolidation,
    "consolidation, 500 users, 5k items": _population,
}
