"""A small world whose items have a side that their text does not tell."""

from __future__ import annotations

from typing import Any

import numpy as np

from lorabank import EmbeddingSpace, Feedback, ItemPool, PriorConfig, user_key
from lorabank.config import NeighbourConfig, PopulationConfig, ResidualConfig
from lorabank.population import Population, PopulationReport, Rows, collect_rows, fit_population

ITEMS, DIM, USERS = 80, 8, 150
SPACE = EmbeddingSpace("world", DIM)
PRIOR = PriorConfig(epochs=2, batch=64, negatives=40, held_out=0.4, min_users=5)
QUICK = PopulationConfig(
    ranks=(2,),
    residuals=ResidualConfig(learning_rates=(0.02, 0.05), epochs=2, batch=64, negatives=40),
    neighbours=NeighbourConfig(decays=(0.7,), reach=20),
)


class World:
    """Users whose likes follow one another in chains, and gather in hidden groups of items.

    Item j is of hidden group ``j % 8``; after j a user often likes ``j + 8``, the next of the
    same group. Vectors are random: they know nothing of it.
    """

    def __init__(self, users: int = USERS, events: int = 16, seed: int = 0) -> None:
        vectors = np.random.default_rng(11).normal(size=(ITEMS, DIM)).astype(np.float32)
        self.vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        rng = np.random.default_rng(seed)
        self.feedback: dict[str, list[Feedback]] = {}
        for number in range(users):
            self.feedback[user_key(f"user {number}", b"world")] = [self._life(rng, events)]
        liked = np.concatenate([f.items for [f] in self.feedback.values()])
        self.pool = ItemPool(self.vectors, np.bincount(liked, minlength=ITEMS))

    def _life(self, rng: np.random.Generator, events: int) -> Feedback:
        group, items = rng.integers(8), [int(rng.integers(ITEMS - 8))]
        while len(items) < events:
            near = (items[-1] + 8) % (ITEMS - 8)
            any_of_group = int(group + 8 * rng.integers(ITEMS // 8 - 1))
            items.append(near if rng.random() < 0.6 else any_of_group)
        x = np.cumsum(self.vectors[[items[0], *items[:-1]]], axis=0)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return Feedback(x, items=items)

    @property
    def rows(self) -> Rows:
        """All feedback; items ITEMS - 8 and above were never liked by anyone."""
        rows = collect_rows(self.feedback, "contrastive")
        assert rows is not None
        return rows

    def fit(self, **changes: Any) -> tuple[Population, PopulationReport]:
        """A quick training."""
        options: dict[str, Any] = {"space": SPACE, "prior": PRIOR, "config": QUICK} | changes
        return fit_population(options.pop("rows", self.rows), self.pool, **options)
