"""Hot adapters: bounded in number and bytes, least recently used first out.

What is stored is never only here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabank.adapter import Adapter
from lorabank.arena import Lease
from lorabank.personalizer.places import Places
from lorabank.types.arrays import IntArray

# Bytes of an entry beside its arrays: the objects that hold them (measured with tracemalloc).
OBJECTS = 3000


@dataclass(frozen=True, slots=True)
class Hot:
    """An adapter in memory.

    Attributes:
        adapter: of the user.
        revision: under which the store holds it; None if it was made for a user without one.
        read_at: monotonic seconds at which the store was asked.
        lease: of the adapter's weights.
    """

    adapter: Adapter
    revision: int | None
    read_at: float
    lease: Lease

    @property
    def nbytes(self) -> int:
        """Bytes that it takes, about."""
        return self.adapter.nbytes + OBJECTS


class HotAdapters:
    """A bounded mapping of user ids to adapters; the last one put is kept whatever its size.

    Reading from the store takes a while, in which the user may learn or be forgotten: then what
    was read is old, and must not be kept. So a read is announced first (`reading`), and kept with
    `put_read` only if nothing was put or dropped since.

    Attributes:
        nbytes: of all.
        version: grows with everything that is put or removed.
    """

    def __init__(self, capacity: int, max_bytes: int) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self.nbytes = 0
        self.version = 0
        self._index: dict[str, int] = {}
        self._places = Places(capacity)
        self._held: dict[int, tuple[str, Hot]] = {}
        self._reads: dict[str, object] = {}
        self._readers: dict[int, list[Hot]] = {}

    def __len__(self) -> int:
        return len(self._index)

    def __iter__(self) -> Iterator[Hot]:
        return (hot for _, hot in self._held.values())

    def get(self, user_id: str) -> Hot | None:
        """The adapter, if it is hot."""
        place = self._index.get(user_id)
        if place is None:
            return None
        self._places.use(place)
        return self._held[place][1]

    def find(self, user_ids: Sequence[str], places: IntArray, rows: NDArray[Any]) -> bool:
        """Whether all of n users are hot: then their places (n,) and rows (n,) are written.

        They are used, one after another.
        The slots in the rows stay what they are in a block `with lasting()`.
        """
        try:
            found = np.fromiter(map(self._index.__getitem__, user_ids), np.int64, len(user_ids))
        except (KeyError, TypeError):  # what can't be hashed is no user either
            return False
        places[:] = found
        self._places.read(found, rows)
        self._places.use_all(found)
        return True

    def use(self, places: IntArray) -> None:
        """Users who were found when `version` was what it is now are used again."""
        self._places.use_all(places)

    @contextmanager
    def lasting(self) -> Iterator[None]:
        """What is exchanged or removed within this block keeps its slot until its end."""
        kept: list[Hot] = []
        self._readers[id(kept)] = kept
        try:
            yield
        finally:
            del self._readers[id(kept)]

    def put(self, user_id: str, hot: Hot) -> None:
        """Keep it; the one unused for longest makes room."""
        self._reads.pop(user_id, None)
        self.version += 1
        place = self._index.get(user_id)
        if place is None:
            place = self._index[user_id] = self._places.take()
        else:
            self._let_go(self._held[place][1])
        adapter, lease = hot.adapter, hot.lease
        self._places.write(place, lease.slot, lease.rank, adapter.scale, hot.read_at)
        self._held[place] = user_id, hot
        self.nbytes += hot.nbytes
        while len(self) > self._capacity or (self.nbytes > self._max_bytes and len(self) > 1):
            self._remove(self._held[self._places.oldest()][0])

    def drop(self, user_id: str) -> None:
        """Read it from the store next time."""
        self._reads.pop(user_id, None)
        self._remove(user_id)

    def reading(self, user_id: str) -> object:
        """A read begins; of several at once, only the last to begin is kept."""
        self._reads[user_id] = ticket = object()
        return ticket

    def put_read(self, user_id: str, ticket: object, hot: Hot) -> None:
        """Keep what was read, unless it is old by now."""
        if self._reads.get(user_id) is ticket:
            self.put(user_id, hot)

    def end_reading(self, user_id: str, ticket: object) -> None:
        """A read has ended, however it did."""
        if self._reads.get(user_id) is ticket:
            del self._reads[user_id]

    def _remove(self, user_id: str) -> None:
        place = self._index.pop(user_id, None)
        if place is not None:
            self.version += 1
            self._places.release(place)
            self._let_go(self._held.pop(place)[1])

    def _let_go(self, hot: Hot) -> None:
        self.nbytes -= hot.nbytes
        for kept in self._readers.values():
            kept.append(hot)
