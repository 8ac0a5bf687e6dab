"""Recursive least squares is ridge regression, however the stream is cut, and never winds up."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.batches import Array

from lorabank.numerics.rls import ridge_of, rls_step

N, RANK, DIM, RIDGE = 40, 3, 6, 0.4
laws = settings(max_examples=40, deadline=None, derandomize=True)
cuts = st.lists(st.integers(1, N - 1), max_size=8, unique=True).map(
    lambda inner: [0, *sorted(inner), N]
)


def stream(seed: int = 0, n: int = N) -> tuple[Array, Array, Array]:
    """Hidden vectors, residuals, and a first B that is not zero."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, RANK)), rng.normal(size=(n, DIM)), rng.normal(size=(DIM, RANK))


def run(
    hidden: Array, residual: Array, start: Array, cut: list[int], forgetting: float = 1.0
) -> tuple[Any, Any]:
    B, information = start, RIDGE * np.eye(RANK)
    for a, b in pairwise(cut):
        B, information = rls_step(
            B, information, hidden[a:b], residual[a:b], forgetting=forgetting, ridge=RIDGE
        )
    return B, information


def closed_form(hidden: Array, residual: Array, start: Array) -> Array:
    """``argmin_B sum |B h - r|^2 + ridge |B - B_0|^2``."""
    information = hidden.T @ hidden + RIDGE * np.eye(RANK)
    solution: Array = (residual.T @ hidden + RIDGE * start) @ np.linalg.inv(information)
    return solution


@laws
@given(cuts, st.permutations(range(N)))
def test_without_forgetting_it_is_the_closed_form_in_any_order_and_any_cut(
    cut: list[int], order: list[int]
) -> None:
    hidden, residual, start = stream()
    B, information = run(hidden[order], residual[order], start, cut)
    np.testing.assert_allclose(B, closed_form(hidden, residual, start), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(information, hidden.T @ hidden + RIDGE * np.eye(RANK), rtol=1e-10)


@laws
@given(cuts)
def test_with_forgetting_the_cut_does_not_matter(cut: list[int]) -> None:
    hidden, residual, start = stream()
    B, information = run(hidden, residual, start, cut, forgetting=0.9)
    whole = run(hidden, residual, start, [0, N], forgetting=0.9)
    np.testing.assert_allclose(B, whole[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(information, whole[1], rtol=1e-9)


def test_with_forgetting_each_sample_is_absorbed_after_the_other() -> None:
    """Against the recursion as it is written: ``B += P h (r - B h)^T``, 200 samples at once."""
    hidden, residual, start = stream(n=200)
    B, information = start.copy(), RIDGE * np.eye(RANK)
    for h, r in zip(hidden, residual, strict=True):
        known = information - RIDGE * np.eye(RANK)
        if h @ known @ h > 0:
            information = information - 0.1 * known @ np.outer(h, h) @ known / (h @ known @ h)
        information = information + np.outer(h, h)
        B += np.outer(r - B @ h, np.linalg.inv(information) @ h)
    found = run(hidden, residual, start, [0, 200], forgetting=0.9)
    np.testing.assert_allclose(found[0], B, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found[1], information, rtol=1e-8)


def test_forgetting_follows_a_change_that_remembering_everything_averages() -> None:
    hidden, _, start = stream(n=600)
    old, new = np.random.default_rng(5).normal(size=(2, DIM, RANK))
    residual = np.concatenate([hidden[:300] @ old.T, hidden[300:] @ new.T])
    errors = [
        np.abs(run(hidden, residual, start, [0, 600], forgetting)[0] - new).max()
        for forgetting in (0.95, 1.0)
    ]
    assert errors[0] < 0.03
    assert errors[1] > 0.3


def test_what_is_not_excited_is_not_forgotten() -> None:
    """Two directions are learned, then only one comes: the other stays, mean and certainty."""
    rng = np.random.default_rng(6)
    hidden = rng.normal(size=(400, RANK))
    hidden[100:, 2] = 0.0
    truth = rng.normal(size=(DIM, RANK))
    residual = hidden @ truth.T
    start = np.zeros((DIM, RANK))
    middle, known = run(hidden[:100], residual[:100], start, [0, 100], 0.95)
    B, information = run(hidden, residual, start, [0, 400], 0.95)
    np.testing.assert_allclose(B[:, 2], truth[:, 2], atol=0.05)
    assert np.linalg.inv(information)[2, 2] <= 1.5 * np.linalg.inv(known)[2, 2]
    assert np.abs(B[:, :2] - truth[:, :2]).max() < np.abs(middle[:, :2] - truth[:, :2]).max()


def test_the_covariance_stays_bounded_without_persistent_excitation() -> None:
    """100,000 samples: one direction alone, next to nothing, nothing, then one after the other.

    Plain exponential forgetting would have divided the rest by 0.99 to the power of 25,000, which
    is about 1e-109, before the second phase.
    """
    rng, phase, rank = np.random.default_rng(7), 25_000, 2
    hidden = np.concatenate(
        [
            np.tile([1.0, 0.0], (phase, 1)),
            1e-6 * rng.normal(size=(phase, rank)),
            np.zeros((phase, rank)),
            np.eye(rank)[(np.arange(phase) // 5_000) % 2],
        ]
    )
    B, information = np.zeros((1, rank)), RIDGE * np.eye(rank)
    largest = 0.0
    for start in range(0, len(hidden), 500):
        part, noise = hidden[start : start + 500], rng.normal(size=(500, 1))
        B, information = rls_step(B, information, part, noise, forgetting=0.99, ridge=RIDGE)
        largest = max(largest, float(np.trace(np.linalg.inv(information))))
    assert largest <= rank / RIDGE * (1 + 1e-9)
    assert np.isfinite(B).all()
    np.testing.assert_allclose(information, information.T, rtol=1e-9)


def test_the_ridge_is_what_so_many_random_inputs_tell_on_average() -> None:
    rng, dim = np.random.default_rng(8), 40
    A, scale = rng.normal(size=(RANK, dim)), 0.7
    X = rng.normal(size=(20_000, dim))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    hidden = scale * X @ A.T
    told = np.trace(hidden.T @ hidden) / RANK / len(X)
    assert ridge_of(A, scale, 5.0) == pytest.approx(5 * told, rel=0.03)
    assert ridge_of(np.zeros((RANK, dim)), 1.0, 5.0) > 0
