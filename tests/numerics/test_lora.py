"""The map itself."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabank.adapter import Adapter
from lorabank.errors import InvalidInputError
from lorabank.numerics.clipping import clip_jointly, joint_norm
from lorabank.numerics.lora import initial_matrices
from lorabank.types.space import EmbeddingSpace
from lorabank.types.weights import Weights

ONES = np.ones((3, 6), np.float32)
laws = settings(max_examples=50, deadline=None, derandomize=True)


def adapter(
    dim: int = 6, rank: int = 2, scaling: Literal["lora", "rslora"] = "lora", alpha: float = 3.0
) -> Adapter:
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(rank, dim)), rng.normal(size=(dim, rank))
    weights = Weights(A.astype(np.float32), B.astype(np.float32))
    return Adapter("u", weights, alpha, scaling, "mse", EmbeddingSpace("s", dim))


@laws
@given(
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(0, 5),
    st.sampled_from([("lora", 1.0), ("rslora", 0.5)]),
    st.floats(0.1, 8.0),
)
def test_transform_is_the_formula(
    dim: int, rank: int, n: int, scaling: tuple[Literal["lora", "rslora"], float], alpha: float
) -> None:
    name, power = scaling
    one = adapter(dim, rank, name, alpha)
    X = np.random.default_rng(1).normal(size=(n, dim) if n else (dim,)).astype(np.float32)
    delta = one.B.astype(np.float64) @ one.A.astype(np.float64)
    expected = X + alpha / rank**power * X @ delta.T
    got = one.transform(X)
    assert got.dtype == np.float32
    assert got.shape == X.shape
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_transform_writes_into_out() -> None:
    X = np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)
    for inputs in (X, X[0]):
        out = np.full(inputs.shape, np.nan, np.float32)
        assert adapter().transform(inputs, out=out) is out
        np.testing.assert_array_equal(out, adapter().transform(inputs))


def test_transform_takes_integers_and_other_floats_but_leaves_its_input_alone() -> None:
    X = np.arange(12).reshape(2, 6)
    expected = adapter().transform(X.astype(np.float32))
    for dtype in (np.int8, np.uint64, np.float16, np.float64):
        given = X.astype(dtype)
        np.testing.assert_array_equal(adapter().transform(given), expected)
        np.testing.assert_array_equal(given, X)
    np.testing.assert_array_equal(adapter().transform(X.tolist()), expected)


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        (ONES, "memory shared"),
        (ONES[::-1], "strided"),
        (np.empty((3, 6), np.float64), "float32"),
        (np.empty((2, 6), np.float32), "float32"),
        (np.empty((3, 12), np.float32)[:, ::2], "strided"),
        ([[0.0] * 6] * 3, "float32"),
    ],
)
def test_an_unfit_out_is_refused(out: Any, expected: str) -> None:
    with pytest.raises(InvalidInputError, match=expected) as caught:
        adapter().transform(ONES, out=out)
    assert caught.value.field == "out"
    np.testing.assert_array_equal(ONES, 1)


@pytest.mark.parametrize(
    "X", [np.ones(5), np.ones((2, 5)), np.ones((1, 2, 6)), [[np.nan] * 6], np.ones((0, 6)), 3.0]
)
def test_transform_refuses_what_does_not_fit(X: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        adapter().transform(X)  # type: ignore[arg-type]
    assert caught.value.field == "X"


@laws
@given(st.integers(1, 300), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_a_new_adapter_is_the_identity_with_a_within_the_kaiming_bound(
    dim: int, rank: int, seed: int
) -> None:
    A, B = initial_matrices(np.random.default_rng(seed), rank, dim)
    assert A.dtype == B.dtype == np.float32
    assert not B.any()
    assert np.abs(A).max() <= np.float32(dim**-0.5)
    one = Adapter("u", Weights(A, B), 1.0, "lora", "mse", EmbeddingSpace("s", dim))
    X = np.random.default_rng(1).normal(size=(2, dim)).astype(np.float32)
    np.testing.assert_array_equal(one.transform(X), X)


def test_a_is_drawn_over_the_whole_bound() -> None:
    A, _ = initial_matrices(np.random.default_rng(0), 16, 256)
    assert np.abs(A).max() > 0.99 / 16
    assert A.std() == pytest.approx(1 / 16 / 3**0.5, rel=0.05)


@laws
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_joint_clipping_keeps_the_direction_and_bounds_the_joint_norm(
    seed: int, threshold: float
) -> None:
    rng = np.random.default_rng(seed)
    dA, dB = rng.normal(size=(2, 5)), rng.normal(size=(5, 2))
    A, B = dA.copy(), dB.copy()
    before = float(np.sqrt((A**2).sum() + (B**2).sum()))
    assert clip_jointly(dA, dB, threshold) == pytest.approx(before)
    assert joint_norm(dA, dB) == pytest.approx(min(before, threshold))
    factor = min(1.0, threshold / before)
    np.testing.assert_allclose(dA, factor * A)
    np.testing.assert_allclose(dB, factor * B)
