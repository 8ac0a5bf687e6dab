"""What is hot as rows of one table: many users are looked up at once, and the oldest is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabank.types.arrays import IntArray

# What serving a user takes: the slot in the arena of a rank, the adapter's scale, and when the
# store was asked (monotonic seconds). ``used`` grows with every use.
ROW = np.dtype(
    [
        ("slot", np.int64),
        ("rank", np.int64),
        ("scale", np.float64),
        ("read_at", np.float64),
        ("used", np.int64),
    ]
)
FREE = np.iinfo(np.int64).max
# One look for the oldest finds this share of all, at least some, in their order.
SHARE, SOME = 16, 16
# Rows that are reserved at once, at most; beyond them the table is copied as it doubles.
MOST = 1 << 20


class Places:
    """Rows in places that are handed out and reclaimed, with the order of their last uses.

    A use writes one number: many are one write of an array, where a linked list would be walked.
    So who was unused for longest has to be looked for, which is done for many at a time.

    Args:
        room: about how many there may be. It is reserved, so that nothing is copied as they become
            more; memory is taken as it is used.
    """

    def __init__(self, room: int) -> None:
        self._rows = np.empty(min(room + 1, MOST), ROW)
        self._used: IntArray = self._rows["used"]
        self._free: list[int] = []
        self._begun = 0
        self._uses = 0
        self._oldest: Iterator[tuple[int, int]] = iter(())

    def take(self) -> int:
        """A place of one's own."""
        if self._free:
            return self._free.pop()
        if self._begun == len(self._rows):
            self._rows = np.concatenate((self._rows, np.empty_like(self._rows)))
            self._used = self._rows["used"]
        self._begun += 1
        return self._begun - 1

    def write(self, place: int, slot: int, rank: int, scale: float, read_at: float) -> None:
        """What is there from now on; it counts as a use."""
        self._uses += 1
        self._rows[place] = (slot, rank, scale, read_at, self._uses)

    def release(self, place: int) -> None:
        """It may be handed out again."""
        self._used[place] = FREE
        self._free.append(place)

    def use(self, place: int) -> None:
        """Used last, for now."""
        self._uses += 1
        self._used[place] = self._uses

    def use_all(self, places: IntArray) -> None:
        """One after another."""
        self._used[places] = np.arange(self._uses + 1, self._uses + 1 + len(places))
        self._uses += len(places)

    def read(self, places: IntArray, out: NDArray[Any]) -> None:
        """The rows (n,) of places (n,)."""
        self._rows.take(places, out=out, mode="clip")

    def oldest(self) -> int:
        """The one unused for longest. There has to be one.

        Those that were found together are still the oldest, and in order, but for those that were
        used since.
        """
        while True:
            for place, used in self._oldest:
                if self._used[place] == used:
                    return place
            self._oldest = self._look()

    def _look(self) -> Iterator[tuple[int, int]]:
        used = self._used[: self._begun]
        most = max(SOME, self._begun // SHARE)
        found = np.argpartition(used, most)[:most] if most < self._begun else np.arange(len(used))
        found = found[used[found] != FREE]
        found = found[np.argsort(used[found])]
        return zip(found.tolist(), used[found].tolist(), strict=True)
