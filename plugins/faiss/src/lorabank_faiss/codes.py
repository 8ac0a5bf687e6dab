"""FAISS's 8-bit codes of some rows, multiplied with a query by numpy.

A filter that leaves few rows is answered from just their codes. FAISS has no search over given
rows; it can decode them (0.5 us a row of 384 components), or look at every row whether it is one
of them. Multiplying the codes as they are, and the rest of the decoding once with the query, takes
0.09 us a row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabank.numerics.products import near_products
from lorabank.types.arrays import FloatArray, IntArray
from lorabank_faiss.native import faiss

_AT_ONCE = 512  # rows, whose codes as floats stay in the cache
_STEPS = 255


class Codes:
    """The codes of a FAISS ``IndexScalarQuantizer`` of type ``QT_8bit``, which is trained.

    A code c stands for ``low + width * (c + 1/2) / 255``, by component (FAISS's own definition).
    """

    def __init__(self, index: Any) -> None:
        self._index = index
        low, width = faiss.vector_to_array(index.sq.trained).reshape(2, -1)
        self._step: FloatArray = width / np.float32(_STEPS)
        self._first: FloatArray = low + self._step / 2

    def products(self, rows: IntArray, query: FloatArray) -> FloatArray:
        """float32 (n,): what each of ``rows`` (n,) was coded as, times ``query`` (dim,)."""
        codes, scaled = self._all(), self._step * query
        products: FloatArray = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), _AT_ONCE):
            some = codes.take(rows[start : start + _AT_ONCE], axis=0)
            products[start : start + len(some)] = near_products(some.astype(np.float32), scaled)
        products += np.dot(self._first, query)
        return products

    def _all(self) -> NDArray[np.uint8]:
        """(n, dim), a view of FAISS's memory: of use until rows are added."""
        held = self._index.codes
        view: NDArray[np.uint8] = faiss.rev_swig_ptr(held.data(), held.size())
        return view.reshape(-1, len(self._step))
