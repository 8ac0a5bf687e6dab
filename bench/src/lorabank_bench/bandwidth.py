"""The machine's limit: how fast memory is read, and read and written, by one thread."""

from __future__ import annotations

import numpy as np

from lorabank_bench.measuring import Case, case

FLOATS = 1 << 26  # 256 MiB: far out of cache


class Memory:
    """A large array, and the cases that go through all of it."""

    def __init__(self, floats: int = FLOATS) -> None:
        self._numbers = np.ones(floats, np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes that one pass reads."""
        return self._numbers.nbytes

    def read(self) -> Case:
        """A sum of squares, by BLAS: reads each number once."""
        return case("read", lambda: np.dot(self._numbers, self._numbers))

    def read_modify_write(self) -> Case:
        """A product in place: reads and writes each number once."""
        factor = np.float32(1.0)
        return case("rmw", lambda: np.multiply(self._numbers, factor, out=self._numbers))
