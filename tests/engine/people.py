"""Simulated users for consolidation: what they share, or that they share nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from lorabank import EmbeddingSpace, EngineConfig, Feedback, ItemPool, PriorConfig, QueryConfig
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank.types.arrays import AnyFloatArray

DIM = 16
SPACE = EmbeddingSpace("people", DIM)
ITEMS = 60
USERS = 72


class People:
    """Users of a world with a shared low-rank map (or none), under one of both objectives."""

    def __init__(self, objective: str, *, shared: bool = True) -> None:
        rng = np.random.default_rng(11)
        self.objective = objective
        self.low_rank = rng.standard_normal((DIM, 2)) @ rng.standard_normal((2, DIM)) / DIM**0.5
        self.shared = shared
        vectors = rng.standard_normal((ITEMS, DIM))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.items = ItemPool(vectors) if objective == "contrastive" else None

    def config(self, **changes: Any) -> EngineConfig:
        options: dict[str, Any] = {
            "rank": 4,
            "objective": self.objective,
            "query": QueryConfig(budget=5.0),
            "prior": PriorConfig(epochs=8, batch=64, negatives=64, held_out=0.4, min_users=4),
        }
        return EngineConfig(SPACE, **(options | changes))

    def feedback(self, user: int, batch: int, n: int = 6) -> Feedback:
        rng = np.random.default_rng([user, batch])
        x = rng.standard_normal((n, DIM)).astype(np.float32)
        if self.items is not None:
            x /= np.linalg.norm(x, axis=1, keepdims=True)
            scores = self._mapped(x, rng) @ self.items.vectors.T
            return Feedback(x, items=(30 * scores + rng.gumbel(size=scores.shape)).argmax(axis=1))
        return Feedback(x, self._mapped(x, rng))

    def _mapped(self, x: AnyFloatArray, rng: np.random.Generator) -> AnyFloatArray:
        if self.shared:
            return np.asarray(x + x @ self.low_rank.T)
        noise = rng.standard_normal(x.shape)
        return np.asarray(noise if self.items is not None else x + noise)

    async def live(self, engine: Engine, users: range = range(USERS), batches: int = 3) -> None:
        """Everybody's updates; afterwards all episodes are in the bank."""
        for user in users:
            adapter = await engine.create_adapter(f"user {user}")
            for batch in range(batches):
                adapter, _ = await engine.update_adapter(adapter, self.feedback(user, batch))
        await engine.flush()

    async def first_losses(self, engine: Engine, *, warm: bool) -> list[tuple[float, float]]:
        """(loss, identity's loss) on the first batch of new users."""
        losses = []
        for user in range(1000, 1020):
            feedback = self.feedback(user, 0)
            context = feedback.x.mean(axis=0) if warm else None
            adapter = await engine.create_adapter(f"new {user}", context=context)
            assert bool(adapter.skill_ids) == warm
            _, report = await engine.update_adapter(adapter, feedback)
            losses.append((report.loss_before, report.identity_loss))
        return losses
