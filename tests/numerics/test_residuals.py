"""Gradients of item residuals, the unbiased correction, and row-wise Adagrad."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabank.numerics.adagrad import RowAdagrad
from lorabank.numerics.residuals import SampledRows, log_inclusion

N, DIM = 12, 5
laws = settings(max_examples=25, deadline=None, derandomize=True)


def batch(seed: int, n: int = 6, m: int = 7) -> SampledRows:
    rng = np.random.default_rng(seed)
    target = rng.integers(N, size=n)
    negatives = np.sort(rng.permutation(N)[:m])
    hits = (target[:, None] == negatives) | (rng.random((n, m)) < 0.2)
    return SampledRows(
        Y=3 * rng.normal(size=(n, DIM)),
        target=target,
        negatives=negatives,
        target_offset=rng.normal(size=n),
        offset=rng.normal(size=m),
        hits=hits,
        weights=rng.uniform(0.2, 2.0, n),
    )


@laws
@given(st.integers(0, 2**32 - 1))
def test_the_gradient_equals_finite_differences(seed: int) -> None:
    rng, rows, step = np.random.default_rng(seed), batch(seed), 1e-6
    V, b = rng.normal(size=(N, DIM)), rng.normal(size=N)
    _, items, dV, db = rows.gradient(V, b)
    full_V, full_b = np.zeros_like(V), np.zeros_like(b)
    full_V[items], full_b[items] = dV, db
    assert set(items) == set(rows.target) | set(rows.negatives)
    for j in range(N):
        for up_b, k in [(True, 0), *((False, k) for k in range(DIM))]:
            changed = (V.copy(), b.copy()), (V.copy(), b.copy())
            for sign, (other_V, other_b) in zip((1, -1), changed, strict=True):
                if up_b:
                    other_b[j] += sign * step
                else:
                    other_V[j, k] += sign * step
            up, down = (rows.gradient(*pair)[0] for pair in changed)
            expected = full_b[j] if up_b else full_V[j, k]
            assert expected == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-7)


def test_the_loss_is_the_softmax_of_target_and_negatives() -> None:
    rows, rng = batch(3), np.random.default_rng(4)
    V, b = rng.normal(size=(N, DIM)), rng.normal(size=N)
    losses = []
    for i in range(len(rows.Y)):
        own = rows.Y[i] @ V[rows.target[i]] + b[rows.target[i]] + rows.target_offset[i]
        others = rows.Y[i] @ V[rows.negatives].T + b[rows.negatives] + rows.offset
        others = others[~rows.hits[i]]
        losses.append(np.log(np.exp(own) + np.exp(others).sum()) - own)
    expected = np.mean(rows.weights * losses)
    assert rows.gradient(V, b)[0] == pytest.approx(expected, rel=1e-12)


def test_inclusion_makes_sums_over_drawn_items_unbiased() -> None:
    rng = np.random.default_rng(0)
    q, values = rng.dirichlet(np.ones(N)), rng.uniform(1, 2, N)
    weights = values / np.exp(log_inclusion(np.log(q), 8))
    sums = [weights[np.unique(rng.choice(N, 8, p=q))].sum() for _ in range(20_000)]
    error = np.std(sums) / len(sums) ** 0.5
    assert np.mean(sums) == pytest.approx(values.sum(), abs=4 * error)


def test_inclusion_of_what_is_surely_drawn_needs_no_correction() -> None:
    np.testing.assert_allclose(log_inclusion(np.log([0.9, 1e-12]), 512), [0.0, np.log(512e-12)])


def test_adagrad_steps_each_row_by_its_own_history() -> None:
    rng = np.random.default_rng(1)
    table, bias = rng.normal(size=(4, 3)), rng.normal(size=4)
    expected, expected_bias = table.copy(), bias.copy()
    squares, bias_squares = np.zeros(4), np.zeros(4)
    steps = RowAdagrad(4), RowAdagrad(4)
    for rows in ([0, 2], [2, 3], [2]):
        g, h = rng.normal(size=(len(rows), 3)), rng.normal(size=len(rows))
        steps[0].update(table, np.array(rows), g, 0.1)
        steps[1].update(bias, np.array(rows), h, 0.1)
        for i, row in enumerate(rows):
            squares[row] += np.mean(g[i] ** 2)
            bias_squares[row] += h[i] ** 2
            expected[row] -= 0.1 * g[i] / np.sqrt(squares[row])
            expected_bias[row] -= 0.1 * h[i] / np.sqrt(bias_squares[row])
    np.testing.assert_allclose(table, expected, rtol=1e-7)
    np.testing.assert_allclose(bias, expected_bias, rtol=1e-7)
    assert (table[1] == expected[1]).all()


def test_a_gradient_of_zero_moves_nothing() -> None:
    table = np.ones((2, 3), np.float32)
    RowAdagrad(2).update(table, np.array([1]), np.zeros((1, 3), np.float32), 0.1)
    assert (table == 1).all()
