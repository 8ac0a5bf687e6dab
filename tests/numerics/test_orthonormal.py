"""Orthonormal bases, made block by block so that nobody waits for the whole."""

from __future__ import annotations

import numpy as np
import pytest

from lorabank.numerics import orthonormal as module
from lorabank.numerics.orthonormal import orthonormal


@pytest.mark.parametrize(
    ("rows", "columns"), [(7, 7), (600, 80), (2_100, 80), (1_537, 3), (513, 400)]
)
def test_the_columns_are_orthonormal_and_span_the_same(rows: int, columns: int) -> None:
    rng = np.random.default_rng(rows)
    matrix = rng.standard_normal((rows, columns), dtype=np.float32)
    Q = orthonormal(matrix)
    assert (Q.dtype, Q.shape) == (np.float32, (rows, columns))
    np.testing.assert_allclose(Q.T @ Q, np.eye(columns), atol=1e-5)
    np.testing.assert_allclose(Q @ (Q.T @ matrix), matrix, atol=1e-4)


def test_columns_that_depend_on_each_other_or_nearly_do() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((3_000, 20), dtype=np.float32) * np.geomspace(1, 1e-6, 20)
    matrix[:, 7], matrix[:, 9] = matrix[:, 3], 0.0
    matrix[1_000:1_600] = 0.0
    Q = orthonormal(matrix.astype(np.float32))
    np.testing.assert_allclose(Q.T @ Q, np.eye(20), atol=1e-5)
    np.testing.assert_allclose(Q @ (Q.T @ matrix), matrix, atol=1e-4)


def test_no_factorisation_is_long_and_others_have_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes, gave, qr = [], 0, np.linalg.qr

    def noting(matrix: np.ndarray) -> object:
        sizes.append(len(matrix))
        return qr(matrix)

    def give_way() -> None:
        nonlocal gave
        gave += 1

    monkeypatch.setattr(module.np.linalg, "qr", noting)
    monkeypatch.setattr(module, "give_way", give_way)
    orthonormal(np.ones((4_096, 80), np.float32))
    assert max(sizes) <= module.ROWS
    assert gave >= len(sizes)
