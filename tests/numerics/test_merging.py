"""Merged adapters are the best low-rank approximation of the mean product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lorabank.numerics.merging import merge_products

Array = NDArray[np.float64]
laws = settings(max_examples=50, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def pairs_of(seed: int, count: int, rank: int, dim: int) -> list[tuple[Array, Array]]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(rank, dim)), rng.normal(size=(dim, rank))) for _ in range(count)]


@laws
@given(seeds, st.integers(1, 5), st.integers(1, 4), st.integers(1, 8), st.integers(1, 6))
def test_the_result_is_the_dense_truncated_svd(
    seed: int, count: int, rank: int, dim: int, wanted: int
) -> None:
    pairs = pairs_of(seed, count, rank, dim)
    weights = list(np.random.default_rng(seed + 1).uniform(0.1, 2, count))
    dense = sum(w * B @ A for (A, B), w in zip(pairs, weights, strict=True))
    U, S, V = np.linalg.svd(dense)
    best = (U[:, :wanted] * S[:wanted]) @ V[:wanted]
    A, B = merge_products(pairs, weights, wanted)
    assert A.shape == (wanted, dim)
    assert B.shape == (dim, wanted)
    assert np.linalg.norm(dense - B @ A) == pytest.approx(
        np.linalg.norm(dense - best), rel=1e-6, abs=1e-9
    )


@laws
@given(seeds, st.integers(1, 5), st.integers(1, 4), st.integers(4, 8))
def test_merging_equal_adapters_gives_that_adapter(
    seed: int, count: int, rank: int, dim: int
) -> None:
    ((A, B),) = pairs_of(seed, 1, rank, dim)
    merged_A, merged_B = merge_products([(A, B)] * count, [1 / count] * count, rank)
    np.testing.assert_allclose(merged_B @ merged_A, B @ A, atol=1e-9)


@laws
@given(seeds, st.integers(2, 8))
def test_the_basis_in_which_an_adapter_is_written_does_not_matter(seed: int, dim: int) -> None:
    """What averaging A and B apart gets wrong."""
    one, other = pairs_of(seed, 2, 2, dim)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(2, 2)))[0]
    turned = turn @ other[0], other[1] @ turn.T
    A, B = merge_products([one, other], [0.5, 0.5], 2)
    same_A, same_B = merge_products([one, turned], [0.5, 0.5], 2)
    np.testing.assert_allclose(np.linalg.norm(B @ A), np.linalg.norm(same_B @ same_A), rtol=1e-8)


def test_weights_carry_each_adapters_scale() -> None:
    pairs = pairs_of(0, 2, 2, 7)
    A, B = merge_products(pairs, [2.0, 0.25], 4)
    np.testing.assert_allclose(
        B @ A, 2 * pairs[0][1] @ pairs[0][0] + 0.25 * pairs[1][1] @ pairs[1][0]
    )


def test_singular_values_are_split_evenly_and_missing_directions_are_zero() -> None:
    A, B = merge_products(pairs_of(0, 1, 2, 7), [1.0], 5)
    np.testing.assert_allclose(np.linalg.norm(A, axis=1), np.linalg.norm(B, axis=0), atol=1e-12)
    assert not A[2:].any() or np.abs(A[2:]).max() < 1e-6
    assert not B[:, 2:].any() or np.abs(B[:, 2:]).max() < 1e-6


def test_the_identity_merges_to_the_identity() -> None:
    A, B = merge_products([(np.ones((2, 5)), np.zeros((5, 2)))] * 3, [1 / 3] * 3, 2)
    assert not (B @ A).any()
