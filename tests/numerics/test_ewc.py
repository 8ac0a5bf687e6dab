"""Importance per sample, however the stream is cut; anchors at exact counts."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.batches import Array, contrastive_batch, matrices, mse_batch

from lorabank.adaptation.anchoring import first_anchor, gather, watch_for_drift
from lorabank.config import EwcConfig
from lorabank.numerics.contrastive import ContrastiveBatch
from lorabank.numerics.ewc import accumulate, diagonal, empty_importance
from lorabank.numerics.lora import Matrices
from lorabank.numerics.mse import MseBatch
from lorabank.types.arrays import AnyFloatArray
from lorabank.types.weights import Anchor, DriftState, Weights

DIM, RANK, SAMPLES = 5, 3, 12
laws = settings(max_examples=50, deadline=None, derandomize=True)
objectives = pytest.mark.parametrize("objective", ["mse", "contrastive"])
cuts = st.lists(st.integers(1, SAMPLES - 1), max_size=6, unique=True).map(
    lambda inner: [0, *sorted(inner), SAMPLES]
)


def batch_of(objective: str, seed: int = 1) -> MseBatch | ContrastiveBatch:
    make = mse_batch if objective == "mse" else contrastive_batch
    return make(np.random.default_rng(seed), SAMPLES, DIM)


def at(seed: int = 2, scale: float = 0.7) -> Matrices:
    return matrices(np.random.default_rng(seed), RANK, DIM, scale)


def weights_of(m: Matrices) -> Weights:
    return Weights(m.A, m.B)


def assert_same(
    got: tuple[AnyFloatArray, AnyFloatArray], expected: tuple[AnyFloatArray, AnyFloatArray]
) -> None:
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-7)


@laws
@objectives
@given(points=cuts, decay=st.floats(0.0, 0.999))
def test_importance_does_not_depend_on_how_the_stream_is_cut(
    objective: str, points: list[int], decay: float
) -> None:
    batch, anchor = batch_of(objective), at()
    empty = empty_importance(objective, RANK, DIM)
    whole, cut = accumulate(empty, batch, anchor, decay), empty
    for start, stop in pairwise(points):
        cut = accumulate(cut, batch.part(start, stop), anchor, decay)
    assert cut.mass == pytest.approx(whole.mass)
    assert_same(diagonal(cut, anchor, objective), diagonal(whole, anchor, objective))


@objectives
def test_diagonal_is_the_weighted_mean_over_samples_by_brute_force(objective: str) -> None:
    """mse: J^T J of every residual of w|e|^2/|x|^2; contrastive: squared gradients."""
    batch, m, decay = batch_of(objective), at(), 0.8
    weights = decay ** np.arange(SAMPLES - 1, -1, -1)
    per_sample = [_brute_force(batch.part(i, i + 1), m) for i in range(SAMPLES)]
    expected_A, expected_B = (
        np.tensordot(weights / weights.sum(), np.array(part), 1)
        for part in zip(*per_sample, strict=True)
    )
    importance = accumulate(empty_importance(objective, RANK, DIM), batch, m, decay)
    F_A, F_B = diagonal(importance, m, objective)
    assert_same(
        (np.broadcast_to(F_A, (RANK, DIM)), np.broadcast_to(F_B, (DIM, RANK))),
        (expected_A, expected_B),
    )


def _brute_force(one: MseBatch | ContrastiveBatch, m: Matrices) -> tuple[Array, Array]:
    if isinstance(one, ContrastiveBatch):
        _, dA, dB = one.gradient(m)
        return np.asarray(dA**2), np.asarray(dB**2)
    x = one.X[0]
    J_A, J_B = np.zeros((DIM, RANK, DIM)), np.zeros((DIM, DIM, RANK))
    for k in range(RANK):
        J_A[:, k, :] = m.scale * np.outer(m.B[:, k], x)
        for i in range(DIM):
            J_B[i, i, k] = m.scale * (m.A[k] @ x)
    weight = 1.0 if one.weights is None else one.weights[0]
    return weight * (J_A**2).sum(0) / (x @ x), weight * (J_B**2).sum(0) / (x @ x)


def test_zero_weight_rows_are_of_no_importance() -> None:
    full = mse_batch(np.random.default_rng(1), 2, DIM)
    weighted = MseBatch(full.X, full.T, np.array([0.0, 1.0]))
    alone = weighted.part(1, 2).importance(at(), 0.5)
    assert_same(weighted.importance(at(), 0.5), alone)


def test_importance_is_never_the_square_of_a_batch_mean() -> None:
    """Two samples with opposite gradients: their mean is zero, their importance is not."""
    m, first = at(), np.array([0, 0])
    batch = contrastive_batch(np.random.default_rng(1), 2, DIM, liked=np.array([True, False]))
    batch = replace(
        batch,
        X=batch.X[first],
        T=batch.T[first],
        target_prior=batch.target_prior[first],
        negatives=replace(batch.negatives, hits=batch.negatives.hits[first]),
    )
    sizes = [np.linalg.norm(replace(batch, weights=one).gradient(m)[2]) for one in np.eye(2)]
    balanced = replace(batch, weights=1 / np.array(sizes))
    _, dA, dB = balanced.gradient(m)
    np.testing.assert_allclose(dA, 0, atol=1e-12)
    np.testing.assert_allclose(dB, 0, atol=1e-12)
    for part in balanced.importance(m, 0.5):
        assert part.max() > 1e-3


@laws
@objectives
@given(points=cuts, every=st.integers(1, 15))
def test_the_anchor_moves_at_exact_counts_whatever_the_cuts(
    objective: str, points: list[int], every: int
) -> None:
    batch, config = batch_of(objective), EwcConfig(anchor_every=every)
    here = weights_of(at())
    whole, moved = gather(first_anchor(here, objective), batch, here, 0.7, config)
    cut = first_anchor(here, objective)
    for start, stop in pairwise(points):
        cut, _ = gather(cut, batch.part(start, stop), here, 0.7, config)
    assert moved == (every <= SAMPLES)
    assert cut.samples == whole.samples == SAMPLES % every
    assert (cut.held is None) == (whole.held is None) == (every > SAMPLES)
    np.testing.assert_allclose(cut.importance.rows, whole.importance.rows, rtol=1e-4, atol=1e-7)
    if cut.held is not None and whole.held is not None:
        np.testing.assert_allclose(cut.held.rows, whole.held.rows, rtol=1e-4, atol=1e-7)


def test_after_a_move_importance_is_gathered_at_the_new_anchor() -> None:
    batch, config = batch_of("contrastive"), EwcConfig(anchor_every=8)
    old, new = weights_of(at(1)), weights_of(at(2))
    anchor, moved = gather(first_anchor(old, "contrastive"), batch, new, 0.7, config)
    empty = empty_importance("contrastive", RANK, DIM)
    held = accumulate(empty, batch.part(0, 8), Matrices(old.A, old.B, 0.7), config.decay)
    after = accumulate(held, batch.part(8, 12), Matrices(new.A, new.B, 0.7), config.decay)
    assert moved
    assert anchor.held is not None
    assert anchor.weights is new
    assert_same(
        (anchor.held.rows, anchor.importance.rows),
        (held.rows, after.rows),
    )


def test_a_period_made_shorter_later_ends_at_once() -> None:
    here, batch = weights_of(at()), batch_of("mse")
    late = Anchor(here, empty_importance("mse", RANK, DIM), samples=500)
    anchor, moved = gather(late, batch, here, 0.7, EwcConfig(anchor_every=100))
    assert moved
    assert anchor.samples == SAMPLES - 1


def test_a_row_of_zeros_at_the_border_is_gathered_like_any_other() -> None:
    batch = mse_batch(np.random.default_rng(1), 3, DIM)
    batch.X[0] = 0
    anchor = first_anchor(weights_of(at()), "mse")
    anchor, moved = gather(anchor, batch, weights_of(at()), 0.7, EwcConfig(anchor_every=1))
    assert moved
    assert anchor.held is not None


def test_a_drift_moves_the_anchor_and_holds_what_was_gathered() -> None:
    old, new, config = weights_of(at(1)), weights_of(at(2)), EwcConfig()
    anchor, _ = gather(first_anchor(old, "mse"), batch_of("mse"), old, 0.7, config)
    rng, seen = np.random.default_rng(1), []
    for excess in [*rng.normal(-1, 0.1, 50), *rng.normal(0, 0.1, 3)]:
        anchor, drift = watch_for_drift(anchor, float(excess), 10, new, config)
        seen.append(drift)
    assert seen.index(True) == 51
    assert anchor.weights is new
    assert anchor.held is anchor.importance
    assert anchor.samples == 0
    assert anchor.drift == DriftState(1, anchor.drift.mean)
