"""One namespace: its segments, the index of ids, and its skills.

Everything here is synchronous, so that each change is whole between two awaits.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import numpy as np

from lorabank.types.pattern import Pattern
from lorabank.types.query import PatternFilter
from lorabank.types.skill import Skill
from lorabank_memory.segment import CAPACITY, Rows, Segment, View, passing

# Up to here it is cheaper to cut ids out of the sorted list than to write it anew.
_FEW = 512


class Namespace:
    """Patterns and skills of one tenant."""

    def __init__(self) -> None:
        self.skills: dict[str, Skill] = {}
        self._segments: dict[int, Segment] = {}
        self._open = -1  # number of the segment that takes new rows
        self._index: dict[str, int] = {}  # pattern id -> number of its segment
        self._sorted: list[str] = []
        self._readers = 0  # worker threads that look at views

    def __len__(self) -> int:
        return len(self._index)

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors and columns."""
        return sum(segment.nbytes for segment in self._segments.values())

    def put(self, rows: Rows) -> None:
        """Add rows; those whose id is here already are replaced."""
        ids = [pattern.id for pattern in rows.patterns]
        if not self._index.keys().isdisjoint(ids):
            self.remove([known for known in ids if known in self._index])
        start = 0
        while start < len(ids):
            segment = self._segment_with_room(rows.unit.shape[1])
            stop = min(start + CAPACITY - len(segment), len(ids))
            segment.extend(rows.cut(start, stop))
            self._index.update(dict.fromkeys(ids[start:stop], self._open))
            start = stop
        self._sort_in(ids)

    def get(self, pattern_id: str) -> Pattern | None:
        """The pattern of this id, or None."""
        number = self._index.get(pattern_id)
        return None if number is None else self._segments[number].get(pattern_id)

    def remove(self, ids: Collection[str]) -> None:
        """Drop these patterns, all of which must be here."""
        if not ids:
            return
        if self._readers:
            for number in {self._index[pattern_id] for pattern_id in ids}:
                self._segments[number] = self._segments[number].copy()
        for pattern_id in ids:
            self._segments[self._index.pop(pattern_id)].remove(pattern_id)
        for number in [number for number, segment in self._segments.items() if not segment]:
            del self._segments[number]
        self._merge_small()
        self._unsort(ids)

    @contextmanager
    def reading(self) -> Iterator[list[View]]:
        """What is here now; it stays so inside the block, whatever is changed meanwhile."""
        self._readers += 1
        try:
            yield self.views()
        finally:
            self._readers -= 1

    def views(self) -> list[View]:
        """What is here now, until the next await."""
        return [segment.view() for segment in self._segments.values()]

    def passing_ids(self, where: PatternFilter) -> list[str]:
        """Ids of all patterns that pass."""
        return [
            view.patterns[row].id
            for view in self.views()
            for row in np.flatnonzero(passing(view, where)).tolist()
        ]

    def after(self, pattern_id: str | None, count: int) -> Iterator[Pattern]:
        """The next ``count`` patterns by id."""
        start = 0 if pattern_id is None else bisect_right(self._sorted, pattern_id)
        for known in islice(self._sorted, start, start + count):
            yield self._segments[self._index[known]].get(known)

    def _merge_small(self) -> None:
        """Keep all closed segments but one at least half full."""
        small = [
            number
            for number, segment in self._segments.items()
            if number != self._open and len(segment) <= CAPACITY // 2
        ]
        while len(small) > 1:
            source, target = small.pop(), small[-1]
            view = self._segments.pop(source).view()
            self._segments[target].extend(view)
            self._index.update((pattern.id, target) for pattern in view.patterns)
            if len(self._segments[target]) > CAPACITY // 2:
                small.pop()

    def _sort_in(self, ids: Sequence[str]) -> None:
        for known in ids:
            if not self._sorted or known > self._sorted[-1]:
                self._sorted.append(known)
            else:
                insort(self._sorted, known)

    def _unsort(self, ids: Collection[str]) -> None:
        if len(ids) > _FEW:
            self._sorted = [known for known in self._sorted if known in self._index]
            return
        for pattern_id in ids:
            del self._sorted[bisect_left(self._sorted, pattern_id)]

    def _segment_with_room(self, dim: int) -> Segment:
        segment = self._segments.get(self._open)
        if segment is None or len(segment) >= CAPACITY:
            self._open += 1
            segment = self._segments[self._open] = Segment(dim)
        return segment
