"""Every bad input is refused by name before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.streams import SPACE, config_of, new_adapter

from lorabank.adaptation.step import prepare
from lorabank.adapter import Adapter, Trial, TrialArm
from lorabank.config import (
    ContrastiveConfig,
    EngineConfig,
    EwcConfig,
    QueryConfig,
    SuccessConfig,
    TrialConfig,
)
from lorabank.errors import InvalidInputError, LorabankError
from lorabank.numerics.contrastive import Calibration
from lorabank.numerics.ewc import empty_importance
from lorabank.types.feedback import Feedback, create_adapter_feedback, watch_reward
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.items import ItemPool
from lorabank.types.query import Query
from lorabank.types.space import EmbeddingSpace
from lorabank.types.weights import Anchor, Weights

X = np.ones((2, 3))
NAN, INF = float("nan"), float("inf")
BIG = 10**400


def weights(A: Any, B: Any) -> Weights:
    return Weights(A, B)


def anchor(objective: str) -> Anchor:
    return Anchor(W, empty_importance(objective, 1, 3))


W = weights(np.ones((1, 3)), np.ones((3, 1)))
ADAPTER = new_adapter(config_of("mse", 0.1, 0.0))
SMALL = EmbeddingSpace("small", 3)

FEEDBACK: list[tuple[str, Any, dict[str, Any]]] = [
    ("feedback.x", [[1.0, NAN, 0.0]], {"reward": [1]}),
    ("feedback.x", [[1.0, INF, 0.0]], {"reward": [1]}),
    ("feedback.x", [[1e300, 0.0, 0.0]], {"reward": [1]}),
    ("feedback.x", X.astype(complex), {"reward": [1, 1]}),
    ("feedback.x", X.astype(str), {"reward": [1, 1]}),
    ("feedback.x", X.astype(object), {"reward": [1, 1]}),
    ("feedback.x", X > 0, {"reward": [1, 1]}),
    ("feedback.x", None, {"reward": [1]}),
    ("feedback.x", [[1.0, 2.0], [3.0]], {"reward": [1, 1]}),
    ("feedback.x", 3.0, {"reward": [1]}),
    ("feedback.x", np.ones((0, 3)), {"reward": []}),
    ("feedback.x", np.ones((2, 0)), {"reward": [1, 1]}),
    ("feedback.x", np.ones((1, 2, 3)), {"reward": [1]}),
    ("feedback", X, {}),
    ("feedback.target", X, {"target": X[:1]}),
    ("feedback.target", X, {"target": np.ones((2, 4))}),
    ("feedback.target", X, {"target": NAN * X}),
    ("feedback.reward", X, {"reward": [0.5, 1.0001]}),
    ("feedback.reward", X, {"reward": [-0.0001, 0.5]}),
    ("feedback.reward", X, {"reward": [NAN, 0.5]}),
    ("feedback.reward", X, {"reward": [True, False]}),
    ("feedback.reward", X, {"reward": ["1", "0"]}),
    ("feedback.reward", X, {"reward": 1.0}),
    ("feedback.reward", X, {"reward": [[1], [1]]}),
    ("feedback.items", X, {"items": [0, -1]}),
    ("feedback.items", X, {"items": [0.0, 1.0]}),
    ("feedback.items", X, {"items": [True, False]}),
    ("feedback.items", X, {"items": [0]}),
    ("feedback.items", X, {"items": [[0], [1, 2]]}),
    ("feedback.items", X, {"items": np.array([0, 2**63], np.uint64)}),
    ("feedback.negatives", X, {"items": [0, 1], "negatives": np.ones((2, 4))}),
    ("feedback.negatives", X, {"items": [0, 1], "negatives": np.ones((0, 3))}),
]


@pytest.mark.parametrize(("field", "x", "others"), FEEDBACK)
def test_feedback(field: str, x: Any, others: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Feedback(x, **others)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: got ")
    assert ", expected " in str(caught.value)


SETTINGS: list[tuple[str, Callable[[], object]]] = [
    ("rank", lambda: EngineConfig(SPACE, rank=0)),
    ("rank", lambda: EngineConfig(SPACE, rank=-1)),
    ("rank", lambda: EngineConfig(SPACE, rank=SPACE.dim + 1)),
    ("rank", lambda: EngineConfig(SPACE, rank=2.0)),  # type: ignore[arg-type]
    ("rank", lambda: EngineConfig(SPACE, rank=True)),
    ("objective", lambda: EngineConfig(SPACE, objective="hinge")),  # type: ignore[arg-type]
    ("objective", lambda: EngineConfig(SPACE, objective=np.ones(2))),  # type: ignore[arg-type]
    ("scaling", lambda: EngineConfig(SPACE, scaling="dora")),  # type: ignore[arg-type]
    ("alpha", lambda: EngineConfig(SPACE, alpha=0.0)),
    ("config.space", lambda: EngineConfig("encoder")),  # type: ignore[arg-type]
    ("config.defaults", lambda: EngineConfig(SPACE, defaults=3)),  # type: ignore[arg-type]
    ("namespace", lambda: EngineConfig(SPACE, namespace="")),
    ("user_key_secret", lambda: EngineConfig(SPACE, user_key_secret=bytes(65))),
    ("seed", lambda: EngineConfig(SPACE, seed=-1)),
    ("learning_rate", lambda: Hyperparameters(learning_rate=0)),
    ("learning_rate", lambda: Hyperparameters(learning_rate=NAN)),
    ("learning_rate", lambda: Hyperparameters(learning_rate=BIG)),
    ("learning_rate", lambda: Hyperparameters(learning_rate="1")),  # type: ignore[arg-type]
    ("clip_threshold", lambda: Hyperparameters(clip_threshold=INF)),
    ("ewc_strength", lambda: Hyperparameters(ewc_strength=-1)),
    ("steps", lambda: Hyperparameters(steps=0)),
    ("ewc.decay", lambda: EwcConfig(decay=1.0)),
    ("ewc.anchor_every", lambda: EwcConfig(anchor_every=0)),
    ("ewc.drift_threshold", lambda: EwcConfig(drift_threshold=0)),
    ("success.policy", lambda: SuccessConfig(policy="luck")),
    ("trials.probability", lambda: TrialConfig(probability=1.1)),
    ("trials.arms", lambda: TrialConfig(arms=(("rank", 2.0),))),
    ("trials.arms", lambda: TrialConfig(arms=("learning_rate", 2.0))),  # type: ignore[arg-type]
    ("trials.arms", lambda: TrialConfig(arms=(("steps",),))),  # type: ignore[arg-type]
    ("trials.arms", lambda: TrialConfig(arms=None)),  # type: ignore[arg-type]
    ("trials.half_life", lambda: TrialConfig(half_life=0.0)),
    ("query.half_life", lambda: Query(task="t", half_life=-1.0)),
    ("query.budget", lambda: QueryConfig(budget=0)),
    ("contrastive.tau", lambda: ContrastiveConfig(calibration=Calibration(tau=-1))),
    ("contrastive.negatives", lambda: ContrastiveConfig(negatives=0)),
    ("space.name", lambda: EmbeddingSpace("", 3)),
    ("space.name", lambda: EmbeddingSpace("\ud800", 3)),
    ("space.dim", lambda: EmbeddingSpace("s", 0)),
    ("space.dim", lambda: EmbeddingSpace("s", 3.0)),  # type: ignore[arg-type]
    ("space.normalised", lambda: EmbeddingSpace("s", 3, 1)),  # type: ignore[arg-type]
    ("items.vectors", lambda: ItemPool(np.ones((1, 3)))),
    ("items.counts", lambda: ItemPool(X, [1, -1])),
    ("items.counts", lambda: ItemPool(X, [1])),
    ("items.smoothing", lambda: ItemPool(X, smoothing=0)),
    ("completion_rate", lambda: watch_reward(1.1)),
    ("rating", lambda: watch_reward(1.0, 5.1)),
    ("feedback.x", lambda: create_adapter_feedback(X, X, completion_rate=1.0)),
    ("A", lambda: weights(NAN * np.ones((1, 3)), np.ones((3, 1)))),
    ("B", lambda: weights(np.ones((1, 3)), np.ones((4, 1)))),
    ("A", lambda: Adapter("u", W, 1.0, "lora", "mse", EmbeddingSpace("s", 4))),
    ("user_id", lambda: replace(ADAPTER, user_id="")),
    ("tau", lambda: replace(ADAPTER, tau=NAN)),
    ("anchor or trial", lambda: replace(ADAPTER, anchor=anchor("mse"))),
    ("anchor", lambda: replace(ADAPTER, weights=W, space=SMALL, anchor=anchor("contrastive"))),
    ("anchor.importance", lambda: Anchor(W, empty_importance("mse", 2, 3))),
    ("trial.arm", lambda: TrialArm("rank", 2.0, W)),
    ("trial.arms", lambda: Trial((TrialArm("steps", 2.0, W),), Hyperparameters(), 0, 1)),
]


@pytest.mark.parametrize(("field", "make"), SETTINGS)
def test_settings_and_values(field: str, make: Callable[[], object]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        make()
    assert caught.value.field == field
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, LorabankError)


@pytest.mark.parametrize(
    ("objective", "field", "feedback"),
    [
        ("mse", "feedback.x", Feedback(np.zeros((2, 64)), reward=[1, 1])),
        ("contrastive", "feedback.x", Feedback(np.zeros((2, 64)), items=[0, 1])),
        ("mse", "feedback.x", Feedback(np.ones((2, 3)), reward=[1, 1])),
        ("mse", "feedback.reward", Feedback(np.ones((1, 64)), np.ones((1, 64)), reward=[0])),
        ("contrastive", "feedback", Feedback(np.ones((1, 64)), reward=[1])),
        ("contrastive", "feedback.items", Feedback(np.ones((1, 64)), items=[2])),
    ],
)
def test_feedback_that_does_not_fit_the_adapter(
    objective: Any, field: str, feedback: Feedback
) -> None:
    config = config_of(objective, 0.1, 0.0)
    pool, rng = ItemPool(np.ones((2, 64))), np.random.default_rng(0)
    with pytest.raises(InvalidInputError) as caught:
        prepare(new_adapter(config), feedback, config, pool, rng)
    assert caught.value.field == field


def test_a_secret_is_not_shown_and_a_long_value_is_shortened() -> None:
    with pytest.raises(InvalidInputError) as caught:
        EngineConfig(SPACE, user_key_secret=b"s3cret" * 20)
    assert "s3cret" not in str(caught.value)
    assert len(str(InvalidInputError("f", "y" * 10_000, "less"))) < 200
