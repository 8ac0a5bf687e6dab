"""A small log with something to learn in it, in place of MovieLens."""

from __future__ import annotations

import numpy as np

from lorabank import EmbeddingSpace
from lorabank.demo.data import Data
from lorabank.evaluation.sources.movielens import Ratings

USERS, ITEMS, DIM, RATED = 160, 120, 16, 30


def made_up_data(seed: int = 0) -> Data:
    """Users like what lies in one direction; half of each vector is noise, which can be learned."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((ITEMS, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    useful = vectors[:, : DIM // 4]
    rows = []
    for user in range(USERS):
        taste = useful[rng.integers(ITEMS)]
        order = np.argsort(-(12.0 * useful @ taste + rng.gumbel(size=ITEMS)))[:RATED]
        stars = np.where(np.arange(RATED) < RATED - 5, 5.0, 2.0)
        when = rng.integers(0, 25, RATED) + 10 * user
        rows.append(np.stack([np.full(RATED, user), order, stars, when], axis=1))
    user, item, rating, time = np.concatenate(rows).T
    ratings = Ratings(
        user.astype(np.int64),
        item.astype(np.int64),
        rating.astype(np.float64),
        time.astype(np.float64),
        tuple(f"item {i}" for i in range(ITEMS)),
    )
    return Data(ratings, vectors, EmbeddingSpace("made-up", DIM, normalised=True))
