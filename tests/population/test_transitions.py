"""Transition vectors: their gradient, items that stay silent, and chains that are learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.population.worlds import DIM, ITEMS, PRIOR, QUICK, World

from lorabank import InvalidInputError
from lorabank.config import ContrastiveConfig, TransitionConfig
from lorabank.numerics.contrastive import Calibration
from lorabank.numerics.residuals import SampledRows
from lorabank.population import Transitions
from lorabank.population.ground import Ground, make_ground
from lorabank.population.predictor import Predictor
from lorabank.population.recorder import Recorder
from lorabank.population.shared import fresh
from lorabank.population.transition_training import TransitionTrainer

WORLD = World()
CONFIG = replace(
    QUICK, transitions=TransitionConfig(learning_rate=0.3, epochs=3, batch=64, negatives=40)
)


@pytest.fixture(scope="module")
def ground() -> Ground:
    return make_ground(WORLD.rows, WORLD.pool, CONFIG, PRIOR, ContrastiveConfig())


def nothing() -> None:
    """Never cancels."""


def test_the_gradient_in_the_contexts_is_that_of_finite_differences() -> None:
    rng = np.random.default_rng(0)
    vectors, bias = rng.standard_normal((7, 3)), rng.standard_normal(7)
    batch = SampledRows(
        Y=rng.standard_normal((4, 3)),
        target=np.array([0, 1, 5, 5]),
        negatives=np.array([1, 2, 6]),
        target_offset=rng.standard_normal(4),
        offset=rng.standard_normal(3),
        hits=np.array([0, 1, 5, 5])[:, None] == np.array([1, 2, 6]),
        weights=np.array([1.0, 0.5, 2.0, 1.0]),
    )
    gradient = batch.context_gradient(vectors, bias)
    step = 1e-6
    for row, column in np.ndindex(4, 3):
        losses = []
        for sign in (1, -1):
            moved = batch.Y.copy()
            moved[row, column] += sign * step
            losses.append(replace(batch, Y=moved).gradient(vectors, bias)[0])
        slope = (losses[0] - losses[1]) / (2 * step)
        assert gradient[row, column] == pytest.approx(slope, abs=1e-7)


def test_what_follows_what_is_learned(ground: Ground) -> None:
    """Vectors know nothing of the chains of the world; the best text can do is to be silent."""
    start = Predictor(fresh(2, DIM, 0), ground.pool.vectors)
    trainer = TransitionTrainer(Calibration(4.0, 1.0), CONFIG, 0, nothing)
    recorder = Recorder(None)
    chosen = trainer.choose(ground, start, recorder)
    assert chosen is not None
    _, without = start.calibrated(ground, ground.proof)
    _, loss = start.after(chosen.transitions).calibrated(ground, ground.proof)
    assert loss < without - 0.1
    assert not set(chosen.transitions.items.tolist()) & set(range(ITEMS - 8, ITEMS)), "never liked"
    again = trainer.again(ground, start, chosen)
    assert again is not None
    np.testing.assert_array_equal(again.vectors, chosen.transitions.vectors)


def test_a_row_needs_likes_of_enough_distinct_users(ground: Ground) -> None:
    start = Predictor(fresh(2, DIM, 0), ground.pool.vectors)
    shy = replace(CONFIG, min_users=10_000)
    trainer = TransitionTrainer(Calibration(4.0, 1.0), shy, 0, nothing)
    assert trainer.choose(ground, start, Recorder(None)) is None


def test_it_is_in_the_population_only_if_it_is_proved_by_itself() -> None:
    _, report = WORLD.fit(config=CONFIG)
    found = {expert.name: expert for expert in report.experts}
    alone = found["shared+residuals+transitions"]
    assert alone.evidence is not None
    assert ("shared+residuals+neighbours+transitions" in found) == (alone.evidence.lower > 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"items": np.array([3, 1])},
        {"items": np.array([1, 2, 3])},
        {"items": np.zeros(0, np.int64), "vectors": np.zeros((0, DIM), np.float32)},
        {"window": 0},
        {"decay": 1.5},
    ],
)
def test_impossible_ones_are_refused(wrong: dict[str, object]) -> None:
    right: dict[str, object] = {
        "items": np.array([1, 3]),
        "vectors": np.ones((2, DIM), np.float32),
        "window": 2,
        "decay": 0.5,
    }
    Transitions(**right)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="transitions"):
        Transitions(**(right | wrong))  # type: ignore[arg-type]
