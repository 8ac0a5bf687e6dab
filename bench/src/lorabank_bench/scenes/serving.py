"""What a `Personalizer` does for its callers."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from lorabank import EmbeddingSpace, EngineConfig, ItemPool, Personalizer
from lorabank.types.feedback import Feedback
from lorabank_bench.scenes.base import Work
from lorabank_bench.setup import Setup, feedback, unit_rows


@asynccontextmanager
async def _ranking(setup: Setup) -> AsyncIterator[Work]:
    pool = ItemPool(unit_rows(10_000 if setup.quick else 100_000, 384))
    config = EngineConfig(EmbeddingSpace("bench", 384))
    async with Personalizer.open(config, items=pool) as p:

        async def work() -> None:
            for i in range(30):
                await p.rank("user", pool.vectors[i])

        yield work


@asynccontextmanager
async def _many(setup: Setup) -> AsyncIterator[Work]:
    """Thousands of users in one call."""
    users = [f"user {i}" for i in range(500 if setup.quick else 5_000)]
    X = unit_rows(len(users), 64)
    async with Personalizer.open(EngineConfig(EmbeddingSpace("bench", 64), rank=4)) as p:
        await p.update_many({user: feedback(2, 64, i) for i, user in enumerate(users)})

        async def work() -> None:
            for _ in range(10):
                await p.forward_many(users, X)

        yield work


@asynccontextmanager
async def _durable(setup: Setup) -> AsyncIterator[Work]:
    """Consolidation from a file: the replay is read, a population made, kept, and put into use."""
    items, users = (200, 60) if setup.quick else (2_000, 300)
    pool = ItemPool(unit_rows(items, 64))
    rng = np.random.default_rng(0)
    config = EngineConfig(EmbeddingSpace("bench", 64), rank=4, objective="contrastive")
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/users.db"
        async with Personalizer.open(config, store=store, items=pool) as p:
            for _ in range(3):
                liked = (items * rng.beta(1, 8, (users, 10))).astype(np.int64)
                batches = [Feedback(pool.vectors[row][::-1].copy(), items=row) for row in liked]
                await p.update_many({f"user {i}": batch for i, batch in enumerate(batches)})
            yield p.consolidate


SERVING_SCENES = {
    "rank over 100k items": _ranking,
    "forward_many, 5000 users": _many,
    "consolidation of a sqlite store, 300 users, 2k items": _durable,
}
