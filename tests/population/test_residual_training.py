"""Residuals: cold items keep their text vector, few users teach nothing, bytes are bounded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.population.worlds import ITEMS, PRIOR, QUICK, World

from lorabank.config import ContrastiveConfig, ResidualConfig
from lorabank.numerics.contrastive import Calibration
from lorabank.population.ground import Ground, make_ground
from lorabank.population.residual_training import (
    ResidualLesson,
    Table,
    allowed_items,
    residual_epochs,
)
from lorabank.population.shared import fresh
from lorabank.types.arrays import BoolArray

CONFIG = QUICK.residuals


@pytest.fixture(scope="module")
def ground() -> Ground:
    world = World()
    return make_ground(world.rows, world.pool, QUICK, PRIOR, ContrastiveConfig())


def train(
    ground: Ground, config: ResidualConfig = CONFIG, allowed: BoolArray | None = None
) -> Table:
    if allowed is None:
        allowed = allowed_items(ground, ground.fit, 5, config.max_bytes)
    matrices = fresh(2, ground.pool.dim, 0)
    lesson = ResidualLesson(ground, matrices, Calibration(4.0, 1.0), ground.fit, allowed)
    *_, last = residual_epochs(lesson, config, 0.05, np.random.default_rng(0), lambda: None)
    return last


def test_items_that_may_have_no_row_keep_their_vector_bit_by_bit(ground: Ground) -> None:
    allowed = allowed_items(ground, ground.fit, 5, CONFIG.max_bytes)
    allowed[::3] = False
    table = train(ground, allowed=allowed)
    np.testing.assert_array_equal(table.vectors[~allowed], ground.pool.vectors[~allowed])
    assert not table.bias[~allowed].any()
    moved = (table.vectors != ground.pool.vectors).any(axis=1)
    np.testing.assert_array_equal(moved, allowed)


def test_a_row_needs_likes_of_enough_distinct_users(ground: Ground) -> None:
    people: list[set[int]] = [set() for _ in range(ITEMS)]
    users = ground.rows.user[ground.fit].tolist()
    for item, user in zip(ground.items(ground.fit).tolist(), users, strict=True):
        people[item].add(user)
    for least in (1, 5, 30):
        expected = [len(found) >= least for found in people]
        assert allowed_items(ground, ground.fit, least, CONFIG.max_bytes).tolist() == expected
    assert not allowed_items(ground, ground.fit, 1, CONFIG.max_bytes)[-8:].any(), "never liked"


def test_the_most_liked_items_get_the_bytes_there_are(ground: Ground) -> None:
    room = 10 * (4 * (ground.pool.dim + 1) + 8)
    few = allowed_items(ground, ground.fit, 5, room)
    assert few.sum() == 10
    pairs = np.unique(ground.rows.user[ground.fit] * ITEMS + ground.items(ground.fit)) % ITEMS
    users = np.bincount(pairs, minlength=ITEMS)
    assert users[few].min() >= users[~few].max()
    residuals = train(ground, allowed=few).residuals(ground.pool, few)
    assert residuals.nbytes <= room


def test_the_pull_to_zero_shrinks_rows(ground: Ground) -> None:
    sizes = [
        float(np.linalg.norm(train(ground, replace(CONFIG, l2=l2)).vectors - ground.pool.vectors))
        for l2 in (0.0, 0.1, 1.0)
    ]
    assert sizes[0] > sizes[1] > sizes[2] > 0


def test_all_items_serve_as_negatives_where_there_are_few(ground: Ground) -> None:
    table = train(ground, replace(CONFIG, negatives=10 * ITEMS))
    assert np.isfinite(table.vectors).all()
