"""Ranking against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from tests.engine.banks import DIM, make_config

from lorabank import Feedback, ItemPool
from lorabank.errors import InvalidInputError
from lorabank.personalizer import Personalizer, Ranked

RNG = np.random.default_rng(5)
# Few different coordinates, so that many logits are equal.
VECTORS = RNG.integers(-1, 2, (60, DIM)).astype(np.float32)
POOL = ItemPool(VECTORS, RNG.integers(0, 3, 60))


def brute_force(logits: np.ndarray, positions: np.ndarray, k: int) -> list[tuple[int, float]]:
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], positions[i]))
    return [(int(positions[i]), float(logits[i])) for i in order[:k]]


@pytest.mark.parametrize("objective", ["mse", "contrastive"])
@pytest.mark.parametrize("user", ["known", "unknown"])
async def test_like_brute_force_with_ties(objective: str, user: str, store_url: str) -> None:
    config = make_config(objective=objective)
    async with Personalizer.open(config, store=store_url, items=POOL) as p:
        for i in range(3):
            await p.learn("known", Feedback(VECTORS[i : i + 2], VECTORS[i + 3 : i + 5]))
        context = VECTORS[7]
        y = await p.transform(user, context)
        adapter = await p._parts.adapters.to_serve(user, context)
        prior = POOL.log_prior
        for positions in (np.arange(60), np.array([5, 3, 59, 0, 3]), RNG.permutation(60)[:20]):
            logits = VECTORS[positions] @ y
            if objective == "contrastive":
                logits = adapter.tau * logits + adapter.prior_weight * prior[positions]
            for k in (0, 1, 2, 7, len(positions), 100):
                want = brute_force(logits, positions, k)
                assert await p.rank(user, context, positions, k) == want
        for k in (1, 10, 60, 61):
            everything = await p.rank(user, context, None, k)
            assert everything == await p.rank(user, context, np.arange(60), k)
            assert len(everything) == min(k, 60)
        given = await p.rank(user, context, VECTORS, 60)
        logits = VECTORS @ y if objective == "mse" else adapter.tau * (VECTORS @ y)
        assert given == brute_force(logits, np.arange(60), 60)
        assert isinstance(given[0], Ranked)


async def test_bad_candidates() -> None:
    async with Personalizer.open(make_config(), items=POOL) as p:
        x = VECTORS[0]
        for bad in ([60], [-1], [0.5], VECTORS[:, :3], [[np.nan] * DIM], "text", [True]):
            with pytest.raises(InvalidInputError, match="candidates"):
                await p.rank("ada", x, bad)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError, match="k"):
            await p.rank("ada", x, None, -1)
        with pytest.raises(InvalidInputError, match="context"):
            await p.rank("ada", VECTORS)
        assert await p.rank("ada", x, []) == []
    async with Personalizer.open(make_config()) as p:
        with pytest.raises(InvalidInputError, match="items"):
            await p.rank("ada", x)
