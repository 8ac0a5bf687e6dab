"""One namespace: its segments, the index of ids, and its skills.

Everything here is synchronous, so that each change is whole between two awaits.
"""

from __future__ import annotations

import math
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
# Patterns that may wait to be put in order: that takes half the time for many at once, and is of no
# use before somebody looks. With trials it is 15 us each, for whoever puts the last one, which is
# less than one update in a hundred in a row of them.
_WAITING = 128


class Namespace:
    """Patterns and skills of one tenant."""

    def __init__(self) -> None:
        self.skills: dict[str, Skill] = {}
        self._segments: dict[int, Segment] = {}
        self._open = -1  # number of the segment that takes new rows
        self._index: dict[str, int] = {}  # pattern id -> number of its segment
        self._sorted = SortedIds()
        self._waiting: dict[str, Pattern] = {}  # in no segment yet
        self._readers = 0  # worker threads that look at views
        # What is made up to when is refused, by the hash of the user's key as in the columns. One
        # entry for each user that was forgotten, for good: see `MemoryStore.refuse`.
        self._refused: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._index) + len(self._waiting)

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors and columns."""
        self._settle()
        return sum(segment.nbytes for segment in self._segments.values())

    def put(self, patterns: Sequence[Pattern]) -> None:
        """Add patterns with distinct ids and finite contexts of one dimension.

        Those whose id is here already are replaced; those that are refused are left out.
        """
        if self._refused:
            patterns = [pattern for pattern in patterns if not self._is_refused(pattern)]
        self.remove([pattern.id for pattern in patterns])
        self._waiting.update((pattern.id, pattern) for pattern in patterns)
        if len(self._waiting) >= _WAITING:
            self._settle()

    def refuse(self, user_key: str, until: float) -> None:
        """Leave out from now on what this user made up to then, unix seconds."""
        key = hash(user_key)
        self._refused[key] = max(until, self._refused.get(key, until))

    def get(self, pattern_id: str) -> Pattern | None:
        """The pattern of this id, or None."""
        number = self._index.get(pattern_id)
        if number is None:
            return self._waiting.get(pattern_id)
        return self._segments[number].get(pattern_id)

    def remove(self, ids: Iterable[str]) -> None:
        """Drop those of these patterns that are here."""
        settled = []
        for pattern_id in ids:
            if pattern_id in self._index:
                settled.append(pattern_id)
            else:
                self._waiting.pop(pattern_id, None)
        if settled:
            self._remove(settled)

    def _is_refused(self, pattern: Pattern) -> bool:
        return pattern.created_at <= self._refused.get(hash(pattern.user_key), -math.inf)

    def _remove(self, ids: Sequence[str]) -> None:
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

    def _settle(self) -> None:
        """Put those that wait into segments."""
        if not self._waiting:
            return
        rows = Rows.of(list(self._waiting.values()))
        ids, start = rows.ids, 0
        while start < len(ids):
            segment = self._segment_with_room(rows.unit.shape[1])
            stop = min(start + CAPACITY - len(segment), len(ids))
            segment.extend(rows.cut(start, stop))
            self._index.update(dict.fromkeys(ids[start:stop], self._open))
            start = stop
        for known in ids:
            self._sorted.add(known)
        self._waiting = {}

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
        self._settle()
        return [segment.view() for segment in self._segments.values()]

    def passing_ids(self, where: PatternFilter) -> list[str]:
        """Ids of all patterns that pass, segment after segment."""
        return [
            id_of(view.records[row])
            for view in self.views()
            for row in np.flatnonzero(passing(view.columns, where)).tolist()
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
        self._settle()
        return list(islice(self._sorted.after(pattern_id), count))

    def those_that_pass(self, ids: Iterable[str], where: PatternFilter) -> list[Pattern]:
        """The patterns of these ids, all of them here, that pass, in the same order.

        For runs of ids that lie in one segment, as those of one time do.
        """
        return [
            self._segments[number].get(pattern_id)
            for number, run in groupby(ids, self._index.__getitem__)
            for pattern_id in self._segments[number].those_that_pass(run, where)
        ]

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
