"""What storing weights in float16 loses, on made-up users who learn over many updates.

    uv run python bench/benchmarks/half_precision.py

Every user learns a random low-rank change of unit vectors; once the weights are kept as they are,
once they are stored in float16 and read back after every update. Printed are the loss on new inputs
and how often the ten best of 1,000 random items are the same.
"""

from __future__ import annotations

import sys

import anyio
import numpy as np

from lorabank import Adapter, EmbeddingSpace, EngineConfig, Feedback, LoRAPersonalizationEngine
from lorabank.types.arrays import FloatArray

USERS, UPDATES, BATCH = 20, 200, 10


def units(rng: np.random.Generator, count: int, dim: int) -> FloatArray:
    """Random unit vectors (count, dim)."""
    rows: FloatArray = rng.standard_normal((count, dim), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


async def learned(dim: int, rank: int, user: int, half: bool) -> tuple[Adapter, float]:
    """The adapter after all updates, and its relative squared error on new inputs."""
    rng = np.random.default_rng([user, dim])
    change = rng.standard_normal((dim, rank), np.float32) @ units(rng, rank, dim) / dim**0.5
    config = EngineConfig(EmbeddingSpace("made up", dim), rank=rank)
    async with LoRAPersonalizationEngine(config) as engine:
        adapter = await engine.create_adapter(f"user {user}")
        for _ in range(UPDATES):
            x = units(rng, BATCH, dim)
            adapter, _ = await engine.update_adapter(adapter, Feedback(x, x + x @ change.T))
            if half:
                adapter = engine.with_kernel(Adapter.from_bytes(adapter.to_bytes(half=True)))
    x = units(rng, 1000, dim)
    goal = x + x @ change.T
    return adapter, float(((adapter.transform(x) - goal) ** 2).sum() / (x**2).sum())


async def main() -> None:
    """One line for each shape."""
    for dim, rank in ((64, 4), (384, 8)):
        losses, same = [], []
        for user in range(USERS):
            exact, exact_loss = await learned(dim, rank, user, half=False)
            rounded, rounded_loss = await learned(dim, rank, user, half=True)
            losses.append((exact_loss, rounded_loss))
            rng = np.random.default_rng(user)
            x, items = units(rng, 50, dim), units(rng, 1000, dim)
            best = [np.argsort(-a.transform(x) @ items.T)[:, :10] for a in (exact, rounded)]
            same.append(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*best, strict=True)]))
        loss, other = np.mean(losses, axis=0)
        sys.stdout.write(
            f"{dim}/r{rank}: loss {loss:.5f}, in float16 {other:.5f} ({other / loss - 1:+.3%}); "
            f"the same among the ten best: {np.mean(same):.2%}\n"
        )


anyio.run(main)
