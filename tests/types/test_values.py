"""Adapters and patterns are values: what their maker does to its own arrays changes nothing."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from lorabank import Pattern, Weights
from lorabank.types.chance import SeededChance
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.values import changed, made
from lorabank.types.weights import DriftState


def test_weights_do_not_follow_the_callers_arrays() -> None:
    A, B = np.ones((2, 4), np.float32), np.zeros((4, 2), np.float32)
    weights = Weights(A, B)
    A[0, 0], B[0, 0] = np.nan, 7.0
    assert (weights.A == 1).all()
    assert (weights.B == 0).all()


def test_a_pattern_does_not_follow_the_callers_context() -> None:
    context = np.ones(4, np.float32)
    pattern = Pattern(
        "i", "n", "k", "t", context, "mse", 1, Hyperparameters(), "default", 1.0, 1, 1.0
    )
    context[0] = np.nan
    assert (pattern.context == 1).all()


def test_values_are_read_only() -> None:
    weights = Weights(np.ones((2, 4)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="read-only"):
        weights.A[0, 0] = 2.0


def test_made_and_changed_give_what_the_class_itself_gives() -> None:
    parts = {"learning_rate": 0.1, "clip_threshold": 2.0, "ewc_strength": 0.0, "steps": 3}
    value = made(Hyperparameters, **parts)
    assert type(value) is Hyperparameters
    assert value == Hyperparameters(**parts)
    assert hash(value) == hash(Hyperparameters(**parts))
    assert changed(value, steps=4) == replace(value, steps=4)
    assert value.steps == 3
    with pytest.raises(FrozenInstanceError):
        value.steps = 5  # type: ignore[misc]


def test_made_needs_all_fields_and_knows_no_others() -> None:
    with pytest.raises(TypeError):
        made(Hyperparameters, learning_rate=0.1)
    with pytest.raises(TypeError):
        made(DriftState, count=0, mean=0.0, variance=0.0, cumulative=0.0, minimum=0.0, more=1)
    with pytest.raises(AttributeError):
        changed(Hyperparameters(), rate=1.0)


def test_single_numbers_are_settled_by_the_seeds_and_leave_arrays_as_they_are() -> None:
    seeds = (0, 12345, 7)
    numbers = [SeededChance((0, 12345, version)).random() for version in range(2000)]
    assert numbers[7] == SeededChance(seeds).random()
    assert len(set(numbers)) == 2000
    assert min(numbers) >= 0
    assert max(numbers) < 1
    assert abs(np.mean(numbers) - 0.5) < 0.03  # more than four standard errors
    chance = SeededChance(seeds)
    chance.random()
    assert chance.random(5).tolist() == np.random.default_rng(seeds).random(5).tolist()
