"""The update step is pure, scores before it learns, and changes nothing when it fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.streams import DIM, Drifting, config_of, new_adapter, step

from lorabank.adaptation.scoring import outcome_of
from lorabank.adaptation.step import Decision, adapt, prepare
from lorabank.adapter import Adapter, Objective
from lorabank.config import EngineConfig, SuccessConfig, TrialConfig
from lorabank.errors import InvalidInputError
from lorabank.numerics.ewc import accumulate, empty_importance
from lorabank.numerics.lora import Matrices
from lorabank.types.feedback import Feedback
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import Pattern

OBJECTIVES: list[Objective] = ["mse", "contrastive"]
objectives = pytest.mark.parametrize("objective", OBJECTIVES)
ALWAYS = TrialConfig(probability=1.0, updates=2)


def warmed(
    objective: Objective, config: EngineConfig, updates: int = 5
) -> tuple[Adapter, Feedback]:
    """An adapter on its way (with anchor, pending episode and trial), and the next batch."""
    stream = Drifting(objective, 0, leak=0.2, gain=2.0)
    adapter = new_adapter(config)
    for update in range(updates):
        feedback = stream.draw(0, 6, stream.rng)
        adapter = step(adapter, feedback, config, stream.pool, update, observed=True).adapter
    pending = Pattern(
        "id", "n", "key", "", np.ones(DIM, np.float32), objective, 8, config.defaults, "default",
        1.0, 6, 0.0,
    )  # fmt: skip
    return replace(adapter, pending=pending), stream.draw(0, 6, stream.rng)


@objectives
def test_the_same_inputs_and_seed_give_the_same_result_and_stay_unchanged(
    objective: Objective,
) -> None:
    config = replace(config_of(objective, 0.3, 10.0), trials=ALWAYS)
    adapter, feedback = warmed(objective, config)
    stream = Drifting(objective, 0, leak=0.2, gain=2.0)
    before, x = adapter.to_bytes(), feedback.x.copy()
    one, other = (step(adapter, feedback, config, stream.pool, 7, observed=True) for _ in range(2))
    assert one.adapter.to_bytes() == other.adapter.to_bytes() != before
    assert replace(one, adapter=adapter, finished=None) == replace(
        other, adapter=adapter, finished=None
    )
    assert adapter.to_bytes() == before
    np.testing.assert_array_equal(feedback.x, x)


@objectives
def test_a_batch_is_counted(objective: Objective) -> None:
    config = config_of(objective, 0.3, 0.0)
    adapter, feedback = warmed(objective, config)
    after = step(adapter, feedback, config, Drifting(objective, 0, leak=0.2, gain=2.0).pool).adapter
    assert after.version == adapter.version + 1
    assert after.sample_count == adapter.sample_count + 6
    assert after.pending is None
    assert after.anchor is None


@objectives
def test_learning_goes_down_on_the_batch(objective: Objective) -> None:
    config = config_of(objective, 0.1, 0.0)
    adapter, feedback = warmed(objective, config)
    result = step(adapter, feedback, config, Drifting(objective, 0, leak=0.2, gain=2.0).pool)
    assert result.loss_after < result.loss_before


@objectives
def test_the_pending_episode_is_scored_with_the_weights_that_the_batch_met(
    objective: Objective,
) -> None:
    config = config_of(objective, 0.5, 10.0)
    adapter, feedback = warmed(objective, config)
    pool, rng = Drifting(objective, 0, leak=0.2, gain=2.0).pool, np.random.default_rng(3)
    batch = prepare(adapter, feedback, config, pool, rng)
    result = adapt(adapter, batch, Decision(config.defaults), config, rng, lambda: 0.0)
    here = Matrices(adapter.A, adapter.B, adapter.scale)
    expected = outcome_of(batch.loss(here), batch.identity_loss(), config.success)
    assert result.finished is not None
    assert result.finished.outcome == expected
    assert result.loss_before == batch.loss(here)
    assert result.finished.id == "id"
    assert f"{expected.gain:+.1%}" in result.finished.critique


def test_the_gain_policy_compares_with_the_identity() -> None:
    policy = SuccessConfig("gain", gain_scale=0.2)
    for loss, reward, success in ((2.0, 0.5, False), (1.8, 0.75, True), (1.0, 1.0, True),
                                  (2.2, 0.25, False), (9.0, 0.0, False)):  # fmt: skip
        outcome = outcome_of(loss, 2.0, policy)
        assert outcome.gain == pytest.approx((2.0 - loss) / 2.0)
        assert outcome.reward == pytest.approx(reward)
        assert outcome.success is success
    assert outcome_of(0.0, 0.0, policy).reward == 0.5


def test_the_loss_policy_is_the_seeds_rule() -> None:
    policy = SuccessConfig("loss", loss_threshold=0.15)
    for loss, reward, success in ((0.1, 0.9, True), (0.15, 0.85, False), (1.7, 0.0, False)):
        outcome = outcome_of(loss, 1.7, policy)
        assert outcome.reward == pytest.approx(reward)
        assert outcome.success is success


@objectives
def test_values_too_large_raise_and_change_nothing(objective: Objective) -> None:
    config = replace(config_of(objective, 0.3, 10.0), trials=ALWAYS)
    adapter, feedback = warmed(objective, config)
    pool = Drifting(objective, 0, leak=0.2, gain=2.0).pool
    before = adapter.to_bytes()
    huge = 1e30 * np.ones_like(feedback.x)
    bad = (
        Feedback(feedback.x, huge)
        if objective == "mse"
        else Feedback(feedback.x, items=feedback.items, negatives=huge[:2])
    )
    with pytest.raises(InvalidInputError) as caught:
        step(adapter, bad, config, pool, observed=True)
    assert caught.value.field == "feedback"
    assert adapter.to_bytes() == before


@objectives
def test_the_penalty_does_not_feed_into_the_importance(objective: Objective) -> None:
    """It is that of the data alone at the anchor, whatever the strength."""
    config = config_of(objective, 0.3, 1.0)
    adapter, feedback = warmed(objective, config)
    assert adapter.anchor is not None
    held = replace(adapter.anchor, held=adapter.anchor.importance)
    adapter = replace(adapter, anchor=held)
    pool, rng = Drifting(objective, 0, leak=0.2, gain=2.0).pool, np.random.default_rng(3)
    batch = prepare(adapter, feedback, config, pool, rng)
    at = Matrices(held.weights.A, held.weights.B, adapter.scale)
    expected = accumulate(held.importance, batch, at, config.ewc.decay)
    seen = []
    for strength in (1e-3, 1e3):
        decision = Decision(Hyperparameters(learning_rate=0.3, ewc_strength=strength))
        after = adapt(adapter, batch, decision, config, rng, lambda: 0.0).adapter
        assert after.anchor is not None
        np.testing.assert_array_equal(after.anchor.importance.rows, expected.rows)
        np.testing.assert_array_equal(after.anchor.importance.columns, expected.columns)
        seen.append(after.B)
    assert not np.array_equal(seen[0], seen[1])


def test_before_the_first_move_nothing_is_held() -> None:
    config = config_of("mse", 0.3, 100.0)
    adapter, feedback = warmed("mse", config)
    free = config_of("mse", 0.3, 0.0)
    held, unheld = step(adapter, feedback, config), step(adapter, feedback, free)
    np.testing.assert_array_equal(held.adapter.B, unheld.adapter.B)
    empty = empty_importance("mse", 8, DIM)
    assert held.adapter.anchor is not None
    assert held.adapter.anchor.importance.mass > empty.mass
