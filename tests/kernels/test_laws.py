"""What every kernel must do: see `lorabank.kernels.protocol`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from tests.kernels import exact
from tests.kernels.exact import Case, assert_close, case_of, cases

from lorabank.kernels import Kernel

few = settings(max_examples=60, deadline=None)
# A step that takes all but a thousandth of A away: what is left has the roundings of A.
CANCELLING = Case(
    A=np.array([[-1.0574595]], np.float32),
    B=np.array([[1.3701733]], np.float32),
    scale=1.6991176344553138,
    X=np.array([[0.54747444]], np.float32),
    T=np.array([[-0.38620704]], np.float32),
    weights=np.array([0.3399752], np.float32),
)


@few
@given(c=cases())
def test_forward_is_that_of_float64(kernel: Kernel, c: Case) -> None:
    out = np.full_like(c.X, np.nan)
    assert kernel.forward(c.A, c.B, c.scale, c.X, out)
    expected, tolerance = exact.forward(c)
    assert (abs(out - expected) <= tolerance).all()
    one = np.full_like(c.X[0], np.nan)
    assert kernel.forward(c.A, c.B, c.scale, c.X[0], one)
    assert (abs(one - expected[0]) <= tolerance[0]).all()


@few
@given(c=cases())
def test_sums_and_losses_are_those_of_float64(kernel: Kernel, c: Case) -> None:
    assert kernel.mse_sums(c.X, c.T, c.weights) == pytest.approx(exact.sums(c), rel=1e-5)
    unweighted = Case(c.A, c.B, c.scale, c.X, c.T, None)
    error, plain = kernel.mse_loss(c.A, c.B, c.scale, c.X, c.T, c.weights)
    assert error == pytest.approx(exact.gradient(c)[0], rel=1e-4)
    assert plain == pytest.approx(exact.gradient(unweighted)[0], rel=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(1, 5, 1), (3, 37, 4), (10, 384, 8), (2, 64, 16)], ids=str)
def test_a_loss_is_not_finite_if_a_number_of_the_matrices_is_not(
    kernel: Kernel, shape: tuple[int, int, int], weighted: bool, bad: float
) -> None:
    """Whatever it is multiplied with: inputs, hidden values and weights of zero included."""
    c = case_of(*shape, 0)
    X = np.zeros_like(c.X)
    weights = np.zeros(len(X), np.float32) if weighted else None
    for matrix in (c.A, c.B):
        for place in {0, matrix.size // 2, matrix.size - 1}:
            sound = matrix.flat[place]
            matrix.flat[place] = bad
            losses = kernel.mse_loss(c.A, c.B, c.scale, X, c.T, weights)
            assert not any(map(math.isfinite, losses))
            matrix.flat[place] = sound
    assert all(map(math.isfinite, kernel.mse_loss(c.A, c.B, c.scale, X, c.T, weights)))


@few
@given(c=cases())
def test_gradient_is_that_of_float64(kernel: Kernel, c: Case) -> None:
    dA, dB = np.full_like(c.A, np.nan), np.full_like(c.B, np.nan)
    energy = exact.sums(c)[0]
    error, norm = kernel.mse_gradient(c.A, c.B, c.scale, c.X, c.T, c.weights, energy, dA, dB)
    expected, exact_A, exact_B = exact.gradient(c)
    assert error == pytest.approx(expected, rel=1e-4)
    assert norm == pytest.approx(
        math.hypot(np.linalg.norm(exact_A), np.linalg.norm(exact_B)), rel=1e-4
    )
    _, size_A, size_B = exact.gradient(exact.unsigned(c))
    assert_close(dA, exact_A, size_A.max())
    assert_close(dB, exact_B, size_B.max())


@few
@given(c=cases())
@example(c=CANCELLING)
@pytest.mark.parametrize("clip", [1e-3, 1e9], ids=["clipped", "free"])
def test_update_is_that_of_float64(kernel: Kernel, c: Case, clip: float) -> None:
    A, B = np.full_like(c.A, np.nan), np.full_like(c.B, np.nan)
    energy = exact.sums(c)[0]
    error, norm = kernel.mse_update(c.A, c.B, c.scale, c.X, c.T, c.weights, energy, 0.3, clip, A, B)
    exact_A, exact_B, exact_norm = exact.update(c, 0.3, clip)
    assert error == pytest.approx(exact.gradient(c)[0], rel=1e-4)
    assert norm == pytest.approx(exact_norm, rel=1e-4)
    _, size_A, size_B = exact.gradient(exact.unsigned(c))
    factor = 0.3 * min(1.0, clip / exact_norm)
    assert_close(A, exact_A, abs(c.A).max() + factor * size_A.max())
    assert_close(B, exact_B, abs(c.B).max() + factor * size_B.max())


def test_a_fresh_adapter_is_the_identity_to_the_bit(kernel: Kernel) -> None:
    """Denormal numbers included: nothing is flushed to zero."""
    c = case_of(5, 37, 3, 0)
    X = (c.X * np.float32(1e-41)).astype(np.float32)
    X[0, :3] = [1e-45, -1e-45, -0.0]
    out = np.empty_like(X)
    assert kernel.forward(c.A, np.zeros_like(c.B), c.scale, X, out)
    assert (out == X).all()
    assert (abs(out[0, :2]) > 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [1, 2, 9])
@pytest.mark.parametrize("dim", [1, 7, 64, 100])
def test_forward_finds_what_is_not_finite_wherever_it_is(
    kernel: Kernel, bad: float, n: int, dim: int
) -> None:
    c = case_of(n, dim, min(4, dim), 1)
    for place in {0, dim // 2, dim - 1}:
        X = c.X.copy()
        X[n - 1, place] = bad
        out = np.full_like(X, 7.0)
        assert not kernel.forward(c.A, c.B, c.scale, X, out)
        assert (out == 7.0).all()


def test_forward_finds_it_though_the_weights_there_are_zero(kernel: Kernel) -> None:
    X, out = np.array([[1.0, np.inf]], np.float32), np.zeros((1, 2), np.float32)
    A = np.array([[1.0, 0.0]], np.float32)
    assert not kernel.forward(A, np.ones((2, 1), np.float32), 1.0, X, out)


@pytest.mark.parametrize("field", ["X", "T"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_an_update_that_is_not_finite_writes_nothing(
    kernel: Kernel, field: str, bad: float
) -> None:
    c = case_of(3, 40, 4, 2)
    getattr(c, field)[1, 5] = bad
    A, B = np.full_like(c.A, 7.0), np.full_like(c.B, 7.0)
    found = kernel.mse_update(c.A, c.B, c.scale, c.X, c.T, None, 1.0, 0.3, 1.0, A, B)
    assert not all(map(math.isfinite, found))
    assert (A == 7.0).all()
    assert (B == 7.0).all()


@few
@given(c=cases())
def test_inputs_may_be_read_only_and_stay_as_they_are(kernel: Kernel, c: Case) -> None:
    inputs = [m for m in (c.A, c.B, c.X, c.T, c.weights) if m is not None]
    before = [m.tobytes() for m in inputs]
    for m in inputs:
        m.flags.writeable = False
    A, B, out = np.empty_like(c.A), np.empty_like(c.B), np.empty_like(c.X)
    kernel.forward(c.A, c.B, c.scale, c.X, out)
    kernel.mse_loss(c.A, c.B, c.scale, c.X, c.T, c.weights)
    kernel.mse_update(c.A, c.B, c.scale, c.X, c.T, c.weights, 1.0, 0.3, 1.0, A, B)
    assert [m.tobytes() for m in inputs] == before


def test_the_same_twice_is_the_same_to_the_bit(kernel: Kernel) -> None:
    c = case_of(7, 90, 8, 3)
    results = []
    for _ in range(2):
        A, B, out = np.empty_like(c.A), np.empty_like(c.B), np.empty_like(c.X)
        kernel.forward(c.A, c.B, c.scale, c.X, out)
        numbers = kernel.mse_update(c.A, c.B, c.scale, c.X, c.T, None, 9.0, 0.3, 1.0, A, B)
        results.append((A.tobytes(), B.tobytes(), out.tobytes(), numbers))
    assert results[0] == results[1]
