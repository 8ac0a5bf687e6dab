"""Banks of many patterns: asked, filtered, forgotten from."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from lorabank import EmbeddingSpace, EngineConfig, QueryConfig, open_bank
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank_bench.episodes import USERS, filled
from lorabank_bench.scenes.base import Scene, Work
from lorabank_bench.setup import Setup, feedback, unit_rows

SPACE = EmbeddingSpace("bench", 384)


@asynccontextmanager
async def _opened(setup: Setup, scheme: str) -> AsyncIterator[Engine]:
    """An engine on a bank of 100k patterns, which asks it at each update, and waits."""
    config = EngineConfig(SPACE, query=QueryConfig(refresh_every=1, budget=10.0))
    with tempfile.TemporaryDirectory() as folder:
        url = "memory://" if scheme == "memory" else f"faiss://{folder}/bank"
        async with open_bank(url, space=SPACE) as bank:
            await filled(bank, unit_rows(2_000 if setup.quick else 100_000, 384))
            async with Engine(config, bank) as engine:
                yield engine


@asynccontextmanager
async def _cold(scheme: str, setup: Setup) -> AsyncIterator[Work]:
    """New users, one after the other; what they say is there before the loop is watched."""
    async with _opened(setup, scheme) as engine:
        numbers, batches = itertools.count(), [feedback(10, 384, i) for i in range(40)]

        async def work() -> None:
            for batch in batches[:20] if setup.quick else batches:
                adapter = await engine.create_adapter(f"user {next(numbers)}")
                await engine.update_adapter(adapter, batch)

        yield work


@asynccontextmanager
async def _similar(setup: Setup) -> AsyncIterator[Work]:
    """Searched with a filter, and users forgotten between."""
    async with _opened(setup, "memory") as engine:
        contexts, numbers = unit_rows(20, 384, 1), itertools.count()

        async def work() -> None:
            for context in contexts:
                await engine.get_similar_adaptations(context, k=100, min_reward=0.5)
                assert engine.bank is not None
                await engine.bank.forget("default", f"{next(numbers) % USERS:032x}")

        yield work


BANK_SCENES: dict[str, Scene] = {
    "cold updates, memory bank of 100k": partial(_cold, "memory"),
    "cold updates, faiss bank of 100k": partial(_cold, "faiss"),
    "filtered search and forgetting, memory bank of 100k": _similar,
}
