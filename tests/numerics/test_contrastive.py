"""Sampled softmax, explicit negatives, and the logit that is served."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.batches import contrastive_batch, matrices

from lorabank.adaptation.preparation import prepare_contrastive
from lorabank.config import ContrastiveConfig
from lorabank.numerics import contrastive
from lorabank.numerics.contrastive import Calibration, ContrastiveBatch, log_sum_exp
from lorabank.numerics.lora import Matrices, forward
from lorabank.types.feedback import Feedback
from lorabank.types.items import ItemPool

DIM, ITEMS = 6, 40
CALIBRATION = Calibration(tau=3.0, prior_weight=0.8)
rng = np.random.default_rng(5)
POOL = ItemPool(rng.normal(size=(ITEMS, DIM)), rng.integers(0, 50, ITEMS))
X = rng.normal(size=(4, DIM))
LIKED = np.array([0, 3, 3, 39])


def prepared(
    feedback: Feedback, negatives: int, seed: int = 0, negative_below: float = 0.5
) -> ContrastiveBatch:
    config = ContrastiveConfig(negatives=negatives, negative_below=negative_below)
    generator = np.random.default_rng(seed)
    return prepare_contrastive(feedback, POOL, config, CALIBRATION, generator)


def served_logits(Y: NDArray[np.floating]) -> NDArray[np.float64]:
    """What a caller computes who ranks the pool."""
    logits = CALIBRATION.tau * Y.astype(np.float64) @ POOL.vectors.T
    return logits + CALIBRATION.prior_weight * POOL.log_prior.astype(np.float64)


def test_sampled_partition_function_is_unbiased() -> None:
    """E[sum over drawn non-targets of exp(z - log(N q))] = sum over all non-targets of exp(z)."""
    Y = 0.2 * X[:1]
    logits = served_logits(Y)[0]
    exact = np.exp(np.delete(logits, 3)).sum()
    feedback = Feedback(Y, items=[3])
    estimates = []
    for seed in range(4000):
        _, others = prepared(feedback, 8, seed)._logits(Y, CALIBRATION)
        estimates.append(np.exp(others).sum())
    error = np.std(estimates) / len(estimates) ** 0.5
    assert error < 0.03 * exact, "the test must be able to see a bias"
    assert abs(np.mean(estimates) - exact) < 4 * error


@pytest.mark.parametrize("by_vector", [False, True])
def test_accidental_hits_are_dropped(by_vector: bool) -> None:
    rows = POOL.vectors[LIKED]
    feedback = Feedback(X, rows) if by_vector else Feedback(X, items=LIKED)
    for seed in range(20):
        batch = prepared(feedback, 30, seed)
        same = (batch.negatives.vectors[None] == rows[:, None]).all(axis=2)
        np.testing.assert_array_equal(batch.negatives.hits, same)
        _, others = batch._logits(X, CALIBRATION)
        assert np.isneginf(others[same]).all()
        assert np.isfinite(others[~same]).all()


@pytest.mark.parametrize("dim", [64, 384, 768])
def test_a_copy_of_a_long_target_is_found_among_the_negatives(dim: int) -> None:
    vectors = (3 + np.random.default_rng(1).normal(size=(200, dim))).astype(np.float32)
    pool = ItemPool(vectors)
    batch = prepare_contrastive(
        Feedback(vectors, vectors), pool, ContrastiveConfig(), CALIBRATION, np.random.default_rng(0)
    )
    np.testing.assert_array_equal(batch.negatives.hits, np.eye(200, dtype=bool))


def test_drawn_negatives_are_corrected_by_log_of_the_expected_count() -> None:
    batch = prepared(Feedback(X, items=LIKED), 10)
    drawn = [
        int(np.flatnonzero((POOL.vectors == row).all(axis=1))[0]) for row in batch.negatives.vectors
    ]
    expected = np.log(10 * np.exp(POOL.log_q[drawn].astype(np.float64)))
    np.testing.assert_allclose(batch.negatives.correction, expected, rtol=1e-5, atol=1e-6)


def test_supplied_negatives_get_no_correction_and_no_prior() -> None:
    given = np.random.default_rng(2).normal(size=(3, DIM)).astype(np.float32)
    batch = prepared(Feedback(X, items=LIKED, negatives=given), 10)
    np.testing.assert_array_equal(batch.negatives.vectors, given)
    assert not batch.negatives.correction.any()
    assert not batch.negatives.hits.any()


def test_the_whole_pool_gives_the_exact_likelihood_of_the_served_logit() -> None:
    batch = prepared(Feedback(X, items=LIKED), ITEMS)
    m = matrices(np.random.default_rng(3), 2, DIM, 0.5)
    Y, _ = forward(m, X)
    logits = served_logits(Y)
    exact = (log_sum_exp(logits) - logits[np.arange(4), LIKED]).mean()
    assert batch.loss(m) == pytest.approx(exact, rel=1e-5)


def test_training_logit_of_the_target_is_the_served_logit() -> None:
    batch = prepared(Feedback(X, items=LIKED), 5)
    target, _ = batch._logits(X, CALIBRATION)
    np.testing.assert_allclose(target, served_logits(X)[np.arange(4), LIKED], rtol=1e-5)


@pytest.mark.parametrize(("reward", "up"), [(1.0, True), (0.6, True), (0.4, False), (0.0, False)])
def test_a_low_reward_pushes_the_items_logit_down_and_a_high_one_up(
    reward: float, up: bool
) -> None:
    batch = prepared(Feedback(0.2 * X[:1], items=[7], reward=[reward]), ITEMS)
    m = matrices(np.random.default_rng(3), 2, DIM, 0.5)
    _, dA, dB = batch.gradient(m)
    stepped = m.with_matrices(m.A - 1e-2 * dA, m.B - 1e-2 * dB)
    before = log_probability(m)
    assert (log_probability(stepped) > before) is up
    assert batch.loss(stepped) < batch.loss(m)


def log_probability(m: Matrices) -> float:
    Y, _ = forward(m, 0.2 * X[:1])
    logits = served_logits(Y)
    return float(logits[0, 7] - log_sum_exp(logits)[0])


def test_the_further_a_reward_is_from_the_border_the_more_it_weighs() -> None:
    feedback = Feedback(X, items=LIKED, reward=[1.0, 0.6, 0.4, 0.0])
    batch = prepared(feedback, ITEMS)
    np.testing.assert_allclose(batch.weights, [1.0, 0.6, 0.6, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(batch.liked, [True, True, False, False])


def test_a_part_has_the_same_rows_against_the_same_negatives() -> None:
    batch = contrastive_batch(np.random.default_rng(1), 5, DIM)
    m = matrices(np.random.default_rng(2), 2, DIM)
    parts = [batch.part(0, 2), batch.part(2, 5)]
    assert sum(len(p) * p.loss(m) for p in parts) == pytest.approx(5 * batch.loss(m))


def test_the_way_forward_is_gone_once_through_weights_that_nobody_writes_into(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch, m = (
        prepared(Feedback(X, items=LIKED), 9),
        matrices(np.random.default_rng(3), 2, DIM, 0.5),
    )
    ways = []

    def counted(weights: Matrices, inputs: NDArray[np.float32]) -> object:
        ways.append(weights)
        return forward(weights, inputs)

    monkeypatch.setattr(contrastive, "forward", counted)
    before = batch.gradient(m)
    m.B *= 2
    assert batch.loss(m) != before[0], "they were written into"
    m.A.setflags(write=False)
    m.B.setflags(write=False)
    losses, again = batch.row_losses(m), Matrices(m.A, m.B, m.scale)
    loss, dA, dB = batch.gradient(again)
    assert len(ways) == 3
    fresh = prepared(Feedback(X, items=LIKED), 9)
    np.testing.assert_array_equal(losses, fresh.row_losses(m))
    for got, want in zip((loss, dA, dB), fresh.gradient(m), strict=True):
        np.testing.assert_array_equal(got, want)
    assert batch.loss(Matrices(m.A, m.B, 2 * m.scale)) != loss
    assert batch.part(0, 2).loss(m) == pytest.approx(losses[:2].mean(), rel=1e-5)


def test_log_sum_exp_neither_overflows_nor_warns() -> None:
    rows = np.array([[1e4, 1e4], [-1e4, -np.inf], [-np.inf, -np.inf]])
    np.testing.assert_allclose(log_sum_exp(rows), [1e4 + np.log(2), -1e4, -np.inf])


def test_a_gradient_far_in_the_tail_stays_finite() -> None:
    batch = contrastive_batch(np.random.default_rng(1), 4, DIM, tau=1e4)
    loss, dA, dB = batch.gradient(matrices(np.random.default_rng(2), 2, DIM))
    assert np.isfinite(loss)
    assert np.isfinite(dA).all()
    assert np.isfinite(dB).all()


def test_a_row_without_any_negative_has_nothing_to_learn() -> None:
    batch = contrastive_batch(np.random.default_rng(1), 1, DIM, liked=np.array([True]))
    batch.negatives.hits[:] = True
    loss, dA, dB = batch.gradient(matrices(np.random.default_rng(2), 2, DIM))
    assert loss == 0
    assert not dA.any()
    assert not dB.any()
