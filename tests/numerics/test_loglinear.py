"""Log-linear models of a choice, with any number of features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabank.numerics.loglinear import ChoiceEvents, evaluate, fit_log_linear

N = 20
TRUTH = np.array([1.5, 0.8, 0.5, 1.0])
FREE = [-np.inf] * 4
laws = settings(max_examples=30, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
thetas = st.lists(st.floats(-2.0, 3.0), min_size=4, max_size=4).map(np.array)


def events(
    n: int, seed: int = 0, theta: Sequence[float] | np.ndarray = TRUTH, offered: float = 0.7
) -> ChoiceEvents:
    """Choices drawn from the model itself: two features of the pair, two of the item alone."""
    rng = np.random.default_rng(seed)
    features = (
        rng.normal(size=(n, N)),
        rng.normal(size=N),
        rng.normal(size=N),
        np.log1p(rng.exponential(size=(n, N)) * (rng.random((n, N)) < 0.3)),
    )
    utility = sum(w * f for w, f in zip(theta, features, strict=True))
    utility = utility + rng.gumbel(size=(n, N))
    mask = rng.random((n, N)) < offered
    mask[np.arange(n), rng.integers(N, size=n)] = True
    targets = np.where(mask, utility, -np.inf).argmax(axis=1)
    return ChoiceEvents(features, mask, targets, rng.uniform(0.5, 1.5, n))


@laws
@given(seeds, thetas)
def test_gradient_and_hessian_equal_finite_differences(seed: int, theta: np.ndarray) -> None:
    drawn, step = events(5, seed), 1e-5
    _, gradient, hessian = evaluate([drawn], theta)
    for i in range(4):
        shift = step * np.eye(4)[i]
        up, down = evaluate([drawn], theta + shift), evaluate([drawn], theta - shift)
        assert gradient[i] == pytest.approx((up[0] - down[0]) / (2 * step), rel=1e-4, abs=1e-7)
        np.testing.assert_allclose(hessian[i], (up[1] - down[1]) / (2 * step), rtol=1e-4, atol=1e-6)


@laws
@given(seeds, thetas, thetas, st.floats(0, 1))
def test_the_likelihood_is_convex(
    seed: int, one: np.ndarray, other: np.ndarray, share: float
) -> None:
    drawn = events(5, seed)
    between = evaluate([drawn], share * one + (1 - share) * other)[0]
    chord = share * evaluate([drawn], one)[0] + (1 - share) * evaluate([drawn], other)[0]
    assert between <= chord + 1e-9
    hessian = evaluate([drawn], one)[2]
    assert np.linalg.eigvalsh(hessian).min() > -1e-12


def test_the_loss_is_that_of_the_softmax_over_what_is_offered() -> None:
    drawn = events(7)
    logits = sum(w * f for w, f in zip(TRUTH, drawn.features, strict=True))
    P = np.exp(logits) * drawn.offered
    P /= P.sum(axis=1, keepdims=True)
    expected = drawn.weights @ -np.log(P[np.arange(7), drawn.targets]) / drawn.weights.sum()
    assert evaluate([drawn], TRUTH)[0] == pytest.approx(expected, rel=1e-12)


def test_the_truth_is_recovered_from_any_start() -> None:
    drawn = events(20_000)
    expected, value = fit_log_linear(lambda: [drawn], TRUTH.tolist(), FREE)
    np.testing.assert_allclose(expected, TRUTH, rtol=0.06)
    for start in ([0.0] * 4, [9.0, -3.0, 4.0, 0.0]):
        got, same = fit_log_linear(lambda: [drawn], start, FREE)
        np.testing.assert_allclose(got, expected, rtol=2e-3)
        assert same == pytest.approx(value, rel=1e-6)


def test_chunks_do_not_matter() -> None:
    drawn = events(500)

    def part(rows: slice) -> ChoiceEvents:
        pair, one, two, near = drawn.features
        return ChoiceEvents(
            (pair[rows], one, two, near[rows]),
            drawn.offered[rows],
            drawn.targets[rows],
            drawn.weights[rows],
        )

    parts = [part(slice(0, 1)), part(slice(1, 350)), part(slice(350, 500))]
    whole, _ = fit_log_linear(lambda: [drawn], [1.0] * 4, FREE)
    cut, _ = fit_log_linear(lambda: parts, [1.0] * 4, FREE)
    np.testing.assert_allclose(cut, whole, rtol=1e-6)


def test_a_weight_stays_at_its_bound_and_the_others_are_still_fitted() -> None:
    drawn = events(5000, theta=[1.5, 0.8, 0.5, -1.0])
    bounded, _ = fit_log_linear(lambda: [drawn], [1.0] * 4, [0.0, -np.inf, -np.inf, 0.0])
    without = replace(drawn, features=drawn.features[:3])
    expected, _ = fit_log_linear(lambda: [without], [1.0] * 3, FREE[:3])
    assert bounded[3] == 0.0
    np.testing.assert_allclose(bounded[:3], expected, rtol=1e-4)


def test_what_says_nothing_keeps_its_weight() -> None:
    drawn = events(300)
    flat = replace(drawn, features=(*drawn.features[:2], np.full(N, 3.7), drawn.features[3]))
    got, _ = fit_log_linear(lambda: [flat], [1.0, 1.0, 0.25, 1.0], FREE)
    assert got[2] == 0.25
