"""Ids in order, in blocks: adding and removing one moves few others, however many there are."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from itertools import islice

_MOST = 1024


class SortedIds:
    """Distinct ids, ascending."""

    def __init__(self) -> None:
        self._blocks: list[list[str]] = []
        self._last: list[str] = []  # of each block

    def add(self, new: str) -> None:
        """Add an id that is not here."""
        if not self._blocks:
            self._blocks, self._last = [[new]], [new]
            return
        if new > self._last[-1]:  # most ids are: they begin with the time
            place, block = len(self._blocks) - 1, self._blocks[-1]
            block.append(new)
        else:
            place = bisect_left(self._last, new)
            block = self._blocks[place]
            insort(block, new)
        self._last[place] = block[-1]
        if len(block) > _MOST:
            half = len(block) // 2
            self._blocks[place : place + 1] = [block[:half], block[half:]]
            self._last.insert(place, block[half - 1])

    def remove(self, known: str) -> None:
        """Remove an id that is here."""
        place = bisect_left(self._last, known)
        block = self._blocks[place]
        del block[bisect_left(block, known)]
        if block:
            self._last[place] = block[-1]
        else:
            del self._blocks[place], self._last[place]

    def after(self, known: str | None) -> Iterator[str]:
        """All ids greater than this one; None: all. Nothing may be changed meanwhile."""
        place = 0 if known is None else bisect_right(self._last, known)
        for block in islice(self._blocks, place, None):
            yield from block if known is None else block[bisect_right(block, known) :]
