"""Arrays that grow at their end, and are used up at their beginning."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from lorabank.turns import give_way

Array = TypeVar("Array", bound=NDArray[Any])
_FIRST = 64
# Bytes given back at once: the interpreter's lock is kept for as long as that takes.
_PIECE = 1 << 22


class Growing(Generic[Array]):
    """Rows of one dtype and width; ``values`` is a view of those that are there."""

    def __init__(self, empty: Array) -> None:
        """``empty``: an array of no rows, which says what the rows are like."""
        self._array: Any = empty
        self._start, self._stop = 0, len(empty)

    def __len__(self) -> int:
        return self._stop - self._start

    @property
    def values(self) -> Array:
        """(n, ...), writable."""
        return cast("Array", self._array[self._start : self._stop])

    @property
    def nbytes(self) -> int:
        """Bytes held, room to grow included."""
        return int(self._array.nbytes)

    def append(self, rows: Array) -> None:
        """Add rows at the end."""
        needed = len(self) + len(rows)
        if self._start + needed > len(self._array):
            room = max(needed, _FIRST, min(2 * len(self), len(self) + (1 << 17)))
            self._move(room)
        stop = self._start + needed
        self._array[self._stop : stop] = rows
        self._stop = stop

    def drop_first(self, count: int) -> None:
        """Forget the first ``count`` rows. Room is given back when most of it is unused."""
        self._start += count
        if self._start > len(self):
            self._move(len(self))

    def _move(self, room: int) -> None:
        """Into an array of so many rows."""
        count = len(self)
        array = np.empty_like(self._array, shape=(room, *self._array.shape[1:]))
        array[:count] = self.values
        array, self._array = self._array, array
        self._start, self._stop = 0, count
        piece = max(1, _PIECE // max(1, array[:1].nbytes))
        while array.nbytes > _PIECE:
            try:
                array.resize((max(0, len(array) - piece), *array.shape[1:]))
            except ValueError:
                return  # somebody looks at it still: it goes when they have done
            give_way()
