"""Arrays that grow at their end."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

Array = TypeVar("Array", bound=NDArray[Any])
_FIRST = 64


class Growing(Generic[Array]):
    """Rows of one dtype and width; ``values`` is a view of those that are there."""

    def __init__(self, empty: Array) -> None:
        """``empty``: an array of no rows, which says what the rows are like."""
        self._array = empty
        self._count = len(empty)

    def __len__(self) -> int:
        return self._count

    @property
    def values(self) -> Array:
        """(n, ...), writable."""
        view: Any = self._array[: self._count]
        return cast("Array", view)

    @property
    def nbytes(self) -> int:
        """Bytes held, room to grow included."""
        return int(self._array.nbytes)

    def append(self, rows: Array) -> None:
        """Add rows at the end."""
        needed = self._count + len(rows)
        if needed > len(self._array):
            room = max(needed, _FIRST, min(2 * len(self._array), len(self._array) + (1 << 17)))
            larger: Any = np.empty_like(self._array, shape=(room, *self._array.shape[1:]))
            larger[: self._count] = self.values
            self._array = larger
        self._array[self._count : needed] = rows
        self._count = needed

    def drop_first(self, count: int) -> None:
        """Forget the first ``count`` rows, and give room back."""
        left: Any = self.values[count:].copy()
        self._array = left
        self._count = len(self._array)
