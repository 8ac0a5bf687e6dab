"""The descent under the pull of the anchor."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.batches import matrices, mse_batch

from lorabank.adaptation.learning import Pull, descend
from lorabank.numerics.lora import forward
from lorabank.numerics.mse import MseBatch
from lorabank.types.hyperparameters import Hyperparameters


@pytest.mark.parametrize("strength", [0.1, 10.0, 1e4, 1e8])
def test_where_the_data_is_content_a_step_goes_towards_the_anchor_and_never_past_it(
    strength: float,
) -> None:
    """The rest of the way is that of the implicit step: ``1 / (1 + rate * strength * F)``."""
    rng = np.random.default_rng(0)
    here, anchor = matrices(rng, 2, 5), matrices(rng, 2, 5)
    X = mse_batch(rng, 4, 5).X
    content = MseBatch(X, forward(here, X)[0])
    F = rng.exponential(size=(2, 5)), rng.exponential(size=(5, 2))
    hyper = Hyperparameters(learning_rate=0.3, clip_threshold=1e12, ewc_strength=strength)
    after = descend(content, here, hyper, Pull(anchor, F)).matrices
    left_A = (here.A - anchor.A) / (1 + 0.3 * strength * F[0])
    left_B = (here.B - anchor.B) / (1 + 0.3 * strength * F[1])
    np.testing.assert_allclose(after.A - anchor.A, left_A, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(after.B - anchor.B, left_B, rtol=1e-6, atol=1e-9)


def test_without_strength_the_pull_is_not_there() -> None:
    rng = np.random.default_rng(0)
    here, batch = matrices(rng, 2, 5), mse_batch(rng, 4, 5)
    pull = Pull(matrices(rng, 2, 5), (np.ones((2, 5)), np.ones((5, 2))))
    with_pull, without = (descend(batch, here, Hyperparameters(), p) for p in (pull, None))
    np.testing.assert_array_equal(with_pull.matrices.B, without.matrices.B)


def test_a_step_is_the_clipped_gradient_times_the_rate_and_steps_repeat_it() -> None:
    rng = np.random.default_rng(0)
    start, batch = matrices(rng, 2, 5), mse_batch(rng, 4, 5)
    hyper = Hyperparameters(learning_rate=0.2, clip_threshold=0.01, steps=3)
    descent, m = descend(batch, start, hyper, None), start
    for _ in range(3):
        _, dA, dB = batch.gradient(m)
        norm = float(np.sqrt((dA**2).sum() + (dB**2).sum()))
        factor = 0.2 * min(1.0, 0.01 / norm)
        m = m.with_matrices(m.A - factor * dA, m.B - factor * dB)
    np.testing.assert_allclose(descent.matrices.A, m.A, rtol=1e-9)
    np.testing.assert_allclose(descent.matrices.B, m.B, rtol=1e-9)
    assert descent.loss_before == batch.loss(start)
    assert descent.norm == pytest.approx(norm)
    assert descent.clipped
