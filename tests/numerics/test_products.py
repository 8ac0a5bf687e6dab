"""Products for exact search: right, and equal rows tie wherever they are."""

from __future__ import annotations

import numpy as np
import pytest

from lorabank.numerics import products
from lorabank.numerics.products import exact_products, near_products


@pytest.mark.parametrize("longest", [products._LONGEST, 4])
@pytest.mark.parametrize("dim", [1, 5, 384])
def test_right_and_equal_rows_tie(dim: int, longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_LONGEST", longest)
    rng = np.random.default_rng(dim)
    rows = rng.standard_normal((70, dim)).astype(np.float32)
    rows[::7] = rows[0]
    vector = rng.standard_normal(dim)
    expected = [float(np.float64(row) @ vector) for row in rows]
    exact, near = exact_products(rows, vector), near_products(rows, vector.astype(np.float32))
    assert exact.dtype == np.float64
    assert near.dtype == np.float32
    np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-12 * dim)
    np.testing.assert_allclose(near, expected, rtol=0, atol=1e-6 * dim)
    assert len(set(exact[::7].tolist())) == len(set(near[::7].tolist())) == 1
    assert not len(exact_products(rows[:0], vector))
    assert not len(near_products(rows[:0], vector.astype(np.float32)))
