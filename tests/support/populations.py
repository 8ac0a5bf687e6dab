"""Small populations made by hand, and streams of users with a taste that others share."""

from __future__ import annotations

import numpy as np

from lorabank import EmbeddingSpace, Feedback, ItemPool
from lorabank.population import Expert, ItemToItem, Population, Residuals, SharedAdapter
from lorabank.types.weights import Weights

DIM, ITEMS, WINDOW = 8, 40, 20
SPACE = EmbeddingSpace("toy", DIM)


def make_pool(seed: int = 0) -> ItemPool:
    rng = np.random.default_rng([seed, 1])
    vectors = rng.normal(size=(ITEMS, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return ItemPool(vectors, rng.integers(0, 50, ITEMS))


def make_population(seed: int = 0, *, gain: float = 0.1, user: str = "someone") -> Population:
    """Every kind of expert; "shared+residuals" has gained most."""
    rng = np.random.default_rng([seed, 2])
    adapters = tuple(
        SharedAdapter(name, _weights(rng, rank), 3.0, "lora", (user,))
        for name, rank in (("shared", 3), ("group:a", 2))
    )
    rows = np.arange(0, ITEMS, 2)
    residuals = Residuals(
        rows,
        rng.normal(size=(len(rows), DIM)).astype(np.float32) / 4,
        rng.normal(size=len(rows)).astype(np.float32) / 4,
    )
    experts = (
        Expert("identity", None, False, 4.0, 0.8),
        Expert("shared", "shared", False, 5.0, 0.7, gain=gain / 2, trust=1.2),
        Expert("shared+residuals", "shared", True, 6.0, 0.6, 0.9, gain=gain, trust=1.4),
        Expert("neighbours", None, False, 3.0, 0.5, 0.0, 1.5, gain=gain / 3, trust=1.1),
        Expert("group:a", "group:a", True, 5.5, 0.6, 0.9, gain=gain / 2, trust=1.2),
    )
    neighbours = make_neighbours(rng)
    return Population(SPACE, ITEMS, adapters, residuals, neighbours, experts, (user,))


def make_neighbours(rng: np.random.Generator) -> ItemToItem:
    """Each item has four neighbours."""
    items = np.concatenate([rng.permutation(ITEMS)[:4] for _ in range(ITEMS)]).astype(np.int32)
    weights = rng.uniform(0.1, 3, len(items)).astype(np.float32)
    return ItemToItem(np.arange(0, 4 * ITEMS + 1, 4), items, weights, WINDOW, 0.85)


def make_likes(rng: np.random.Generator, count: int, *, rewards: bool = True) -> Feedback:
    """Events that nothing predicts."""
    reward = rng.uniform(0, 1, count) if rewards else None
    return Feedback(
        rng.normal(size=(count, DIM)), items=rng.integers(0, ITEMS, count), reward=reward
    )


def _weights(rng: np.random.Generator, rank: int) -> Weights:
    return Weights(rng.normal(size=(rank, DIM)) / 3, rng.normal(size=(DIM, rank)) / 3)
