"""What an index knows of its rows beside their vectors: keys, filter columns, who is alive.

Rows are numbered from 0 in the order of their keys, and keep their number until a rebuild. Deleted
rows stay as tombstones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lorabank.types.arrays import BoolArray, IntArray
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_faiss import columns
from lorabank_faiss.growing import Growing

# Filters whose rows are remembered.
_REMEMBERED = 8


class Selected(NamedTuple):
    """Rows that pass a filter: ``mask`` bool (n,), or None for all of them; ``passed`` of them."""

    mask: BoolArray | None
    passed: int


class Rows:
    """Keys int64, checksums int64, columns `columns.DTYPE` and alive bool, each (n,)."""

    def __init__(self) -> None:
        self.keys: Growing[IntArray] = Growing(np.empty(0, np.int64))
        self.checksums: Growing[IntArray] = Growing(np.empty(0, np.int64))
        self.columns: Growing[NDArray[np.void]] = Growing(np.empty(0, columns.DTYPE))
        self.alive: Growing[BoolArray] = Growing(np.empty(0, np.bool_))
        self._users: Growing[IntArray] = Growing(np.empty(0, np.int64))  # of `columns`
        self.living = 0
        self.checksum = 0
        self._selected: dict[PatternFilter, Selected] = {}  # by filters that name no user

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        parts = (self.keys, self.checksums, self.columns, self.alive, self._users)
        return sum(part.nbytes for part in parts)

    def append(self, keys: Sequence[int], checksums: Sequence[int], values: Sequence[Any]) -> None:
        """Add rows whose keys are larger than all that are here, and grow."""
        self.extend(
            np.array(keys, np.int64),
            np.array(checksums, np.int64),
            np.array(values, columns.DTYPE),
            np.ones(len(keys), np.bool_),
        )

    def extend(
        self, keys: IntArray, checksums: IntArray, values: NDArray[np.void], alive: BoolArray
    ) -> None:
        """The same from arrays, some of whose rows may be dead."""
        self.keys.append(keys)
        self.checksums.append(checksums)
        self.columns.append(values)
        self._users.append(values["user"])
        self.alive.append(alive)
        self._selected = {}
        self.living += int(alive.sum())
        self.checksum += int(checksums[alive].sum())

    def bury(self, keys: IntArray) -> None:
        """Mark those of ``keys`` that are here and alive as dead."""
        if not len(self) or not len(keys):
            return
        places = np.searchsorted(self.keys.values, keys)
        places = places[places < len(self)]
        rows = np.unique(places[np.isin(self.keys.values[places], keys)])
        rows = rows[self.alive.values[rows]]
        self.alive.values[rows] = False
        self._selected = {}
        self.living -= len(rows)
        self.checksum -= int(self.checksums.values[rows].sum())

    def select(self, where: PatternFilter) -> Selected:
        """The living rows that pass; not to be written to. The same questions come again and again.

        Call it while nothing is added or buried.
        """
        found = self._selected.get(where)
        if found is None:
            found = self._select(where)
            if where.user_key is None and where.exclude_user_key is None:
                if len(self._selected) >= _REMEMBERED:
                    self._selected = {}
                self._selected[where] = found
        return found

    def _select(self, where: PatternFilter) -> Selected:
        if where == EVERYTHING:
            mask, passed = self.alive.values, self.living
        else:
            mask = columns.passing(self.columns.values, self._users.values, where)
            mask &= self.alive.values
            passed = int(np.count_nonzero(mask))
        # A search without a selector is faster: many a filter passes all that there is.
        return Selected(None if passed == len(self) else mask, passed)
