"""Hot adapters: bounded, least recently used first out. What is stored is never only here."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from lorabank.adapter import Adapter


@dataclass(frozen=True, slots=True)
class Hot:
    """An adapter, and whether the store holds it (False: it was made for a user without one)."""

    adapter: Adapter
    stored: bool


class HotAdapters:
    """A bounded mapping of user ids to adapters."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._adapters: OrderedDict[str, Hot] = OrderedDict()

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
        self._adapters[user_id] = hot
        self._adapters.move_to_end(user_id)
        if len(self._adapters) > self._capacity:
            self._adapters.popitem(last=False)

    def drop(self, user_id: str) -> None:
        """Read it from the store next time."""
        self._adapters.pop(user_id, None)
