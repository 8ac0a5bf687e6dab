"""Every gradient equals central finite differences, in float64."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.batches import contrastive_batch, differences, matrices, mse_batch

from lorabank.adapter import lora_scale
from lorabank.numerics.ewc import penalty, penalty_gradient

seeds = st.integers(0, 2**32 - 1)
rows = st.integers(1, 5)
dims = st.integers(2, 7)
ranks = st.integers(1, 4)
scalings: st.SearchStrategy[Literal["lora", "rslora"]] = st.sampled_from(["lora", "rslora"])
alphas = st.floats(0.1, 8.0)
laws = settings(max_examples=40, deadline=None, derandomize=True)


def close(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-8)


@laws
@given(seeds, rows, dims, ranks, scalings, alphas, st.booleans(), st.sampled_from([1e-3, 1.0, 1e3]))
def test_mse_gradient_equals_finite_differences(
    seed: int,
    n: int,
    dim: int,
    rank: int,
    scaling: str,
    alpha: float,
    weighted: bool,
    size: float,
) -> None:
    rng = np.random.default_rng(seed)
    batch = mse_batch(rng, n, dim, weighted=weighted, size=size)
    m = matrices(rng, rank, dim, lora_scale(alpha, rank, scaling))
    loss, dA, dB = batch.gradient(m)
    expected_A, expected_B = differences(batch.loss, m)
    assert loss == batch.loss(m)
    close(dA, expected_A)
    close(dB, expected_B)


@laws
@given(seeds, rows, dims, ranks, scalings, alphas, st.floats(0.0, 5.0), st.floats(-1.0, 2.0))
def test_contrastive_gradient_equals_finite_differences(
    seed: int,
    n: int,
    dim: int,
    rank: int,
    scaling: str,
    alpha: float,
    tau: float,
    prior_weight: float,
) -> None:
    rng = np.random.default_rng(seed)
    batch = contrastive_batch(rng, n, dim, tau=tau, prior_weight=prior_weight)
    m = matrices(rng, rank, dim, lora_scale(min(alpha, 2.0), rank, scaling))
    loss, dA, dB = batch.gradient(m)
    expected_A, expected_B = differences(batch.loss, m)
    assert loss == batch.loss(m)
    close(dA, expected_A)
    close(dB, expected_B)


@laws
@given(seeds, dims, ranks, st.floats(0.0, 100.0))
def test_penalty_gradient_equals_finite_differences(
    seed: int, dim: int, rank: int, strength: float
) -> None:
    rng = np.random.default_rng(seed)
    m, anchor = matrices(rng, rank, dim), matrices(rng, rank, dim)
    F = rng.exponential(size=(rank, dim)), rng.exponential(size=(dim, rank))
    dA, dB = penalty_gradient(m, anchor, F, strength)
    expected_A, expected_B = differences(lambda at: penalty(at, anchor, F, strength), m)
    np.testing.assert_allclose(dA, expected_A, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dB, expected_B, rtol=1e-5, atol=1e-6)


@laws
@given(seeds, dims, ranks)
def test_at_the_start_only_B_has_a_gradient(seed: int, dim: int, rank: int) -> None:
    rng = np.random.default_rng(seed)
    start = matrices(rng, rank, dim)
    start = start.with_matrices(start.A, np.zeros((dim, rank)))
    for batch in (mse_batch(rng, 3, dim), contrastive_batch(rng, 3, dim)):
        _, dA, dB = batch.gradient(start)
        assert not dA.any()
        assert dB.any()


@laws
@given(seeds, dims, ranks, st.sampled_from([1e-6, 1e-2, 1e2, 1e6]))
def test_mse_and_its_gradient_do_not_depend_on_the_embeddings_scale(
    seed: int, dim: int, rank: int, size: float
) -> None:
    batch = mse_batch(np.random.default_rng(seed), 3, dim)
    scaled = mse_batch(np.random.default_rng(seed), 3, dim, size=size)
    m = matrices(np.random.default_rng(seed + 1), rank, dim)
    for got, expected in zip(scaled.gradient(m), batch.gradient(m), strict=True):
        close(got, expected)


@laws
@given(seeds, dims)
def test_a_row_of_weight_w_counts_like_w_rows(seed: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    one, m = mse_batch(rng, 2, dim), matrices(rng, 2, dim)
    weighted = type(one)(one.X, one.T, np.array([1.0, 0.5]))
    twice = type(one)(one.X[[0, 0, 1]], one.T[[0, 0, 1]])
    for got, expected in zip(weighted.gradient(m), twice.gradient(m), strict=True):
        close(got, expected)
