"""Hot adapters: bounded in number and bytes, least recently used first out.

What is stored is never only here.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from lorabank.adapter import Adapter
from lorabank.arena import Lease

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
    """

    def __init__(self, capacity: int, max_bytes: int) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self.nbytes = 0
        self._adapters: OrderedDict[str, Hot] = OrderedDict()
        self._reads: dict[str, object] = {}

    def __len__(self) -> int:
        return len(self._adapters)

    def get(self, user_id: str) -> Hot | None:
        """The adapter, if it is hot."""
        hot = self._adapters.get(user_id)
        if hot is not None:
            self._adapters.move_to_end(user_id)
        return hot

    def put(self, user_id: str, hot: Hot) -> None:
        """Keep it; the one unused for longest makes room."""
        self._reads.pop(user_id, None)
        self._remove(user_id)
        self._adapters[user_id] = hot
        self.nbytes += hot.nbytes
        while len(self) > self._capacity or (self.nbytes > self._max_bytes and len(self) > 1):
            self._remove(next(iter(self._adapters)))

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
        hot = self._adapters.pop(user_id, None)
        if hot is not None:
            self.nbytes -= hot.nbytes
