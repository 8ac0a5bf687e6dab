"""Adapters and patterns are values: what their maker does to its own arrays changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from lorabank import Pattern, Weights
from lorabank.types.hyperparameters import Hyperparameters


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
