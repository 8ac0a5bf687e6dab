"""The query cache: bounded in entries and bytes, least recently used first, with a time to live."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class TtlCache(Generic[T]):
    """A mapping that forgets. Not thread-safe: it belongs to one event loop."""

    def __init__(
        self, *, entries: int, size: int, ttl: float, monotonic: Callable[[], float]
    ) -> None:
        """Keep at most ``entries`` values of together ``size`` bytes, each ``ttl`` seconds."""
        self._max_entries = entries
        self._max_size = size
        self._ttl = ttl
        self._monotonic = monotonic
        self._entries: OrderedDict[Hashable, tuple[T, int, float]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes held, as told to `put`."""
        return self._size

    def get(self, key: Hashable) -> T | None:
        """The value, or None if it is not there or its time is up."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, _, expires_at = entry
        if expires_at <= self._monotonic():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: Hashable, value: T, size: int) -> None:
        """Keep a value of ``size`` bytes; older ones make room. One too large is not kept."""
        self._drop(key)
        if size > self._max_size:
            return
        self._entries[key] = (value, size, self._monotonic() + self._ttl)
        self._size += size
        while len(self._entries) > self._max_entries or self._size > self._max_size:
            self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._size = 0

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= entry[1]
