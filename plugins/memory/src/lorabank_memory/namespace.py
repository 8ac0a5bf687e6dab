"""One namespace: its segments, the index of ids, and its skills.

Everything here is synchronous, so that each change is whole between two awaits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, islice

import numpy as np

from lorabank.types.pattern import Pattern
from lorabank.types.query import PatternFilter
from lorabank.types.skill import Skill
from lorabank_memory.ordering import SortedIds
from lorabank_memory.records import id_of
from lorabank_memory.segment import CAPACITY, Rows, Segment, View, passing

# Patterns that are removed at once. Their segment may have to be copied first (1 ms).
_PART = 256


class Namespace:
    """Patterns and skills of one tenant."""

    def __init__(self) -> None:
        self.skills: dict[str, Skill] = {}
        self._segments: dict[int, Segment] = {}
        self._open = -1  # number of the segment that takes new rows
        self._index: dict[str, int] = {}  # pattern id -> number of its segment
        self._sorted = SortedIds()
        self._readers = 0  # worker threads that look at views

    def __len__(self) -> int:
        return len(self._index)

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors and columns."""
        return sum(segment.nbytes for segment in self._segments.values())

    def put(self, rows: Rows) -> None:
        """Add rows; those whose id is here already are replaced."""
        ids = rows.ids
        self.remove(ids)
        start = 0
        while start < len(ids):
            segment = self._segment_with_room(rows.unit.shape[1])
            stop = min(start + CAPACITY - len(segment), len(ids))
            segment.extend(rows.cut(start, stop))
            self._index.update(dict.fromkeys(ids[start:stop], self._open))
            start = stop
        for known in ids:
            self._sorted.add(known)

    def get(self, pattern_id: str) -> Pattern | None:
        """The pattern of this id, or None."""
        number = self._index.get(pattern_id)
        return None if number is None else self._segments[number].get(pattern_id)

    def remove(self, ids: Iterable[str]) -> None:
        """Drop those of these patterns that are here."""
        ids = [pattern_id for pattern_id in ids if pattern_id in self._index]
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
        for pattern_id in ids:
            self._sorted.remove(pattern_id)

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
        """Ids of all patterns that pass, segment after segment."""
        return [
            id_of(view.records[row])
            for view in self.views()
            for row in np.flatnonzero(passing(view, where)).tolist()
        ]

    def parts(self, ids: Sequence[str]) -> list[list[str]]:
        """The ids in parts that are quick to remove: a few of one segment."""
        return [
            found[start : start + _PART]
            for _, one in groupby(ids, self._index.get)
            for found in [list(one)]
            for start in range(0, len(found), _PART)
        ]

    def after(self, pattern_id: str | None, count: int) -> list[str]:
        """The next ``count`` ids."""
        return list(islice(self._sorted.after(pattern_id), count))

    def those_that_pass(self, ids: Sequence[str], where: PatternFilter) -> Iterator[Pattern]:
        """The patterns of these ids, all of them here, that pass; until the next await."""
        numbers = [self._index[pattern_id] for pattern_id in ids]
        passes = {number: self._segments[number].passes(where) for number in set(numbers)}
        for pattern_id, number in zip(ids, numbers, strict=True):
            if passes[number](pattern_id):
                yield self._segments[number].get(pattern_id)

    def _merge_small(self) -> None:
        """Keep all closed segments but one at least half full."""
        small = [
            number
            for number, segment in self._segments.items()
            if number != self._open and len(segment) <= CAPACITY // 2
        ]
        while len(small) > 1:
            source, target = small.pop(), small[-1]
            rows = self._segments.pop(source).rows()
            self._segments[target].extend(rows)
            self._index.update(dict.fromkeys(rows.ids, target))
            if len(self._segments[target]) > CAPACITY // 2:
                small.pop()

    def _segment_with_room(self, dim: int) -> Segment:
        segment = self._segments.get(self._open)
        if segment is None or len(segment) >= CAPACITY:
            self._open += 1
            segment = self._segments[self._open] = Segment(dim)
        return segment
