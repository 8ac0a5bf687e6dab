"""Turns: a bounded number at once, and one lock per user, there only while somebody holds it.

anyio's own locks look up the running task each time. Most turns are free when they are asked for,
and then nothing here awaits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Turns:
    """At most ``capacity`` hold a turn at once; the others wait, first come first served."""

    __slots__ = ("_free", "_waiting")

    def __init__(self, capacity: int) -> None:
        self._free = capacity
        self._waiting: deque[anyio.Event] = deque()

    def take(self) -> bool:
        """Take a turn if one is free."""
        if self._free == 0:
            return False
        self._free -= 1
        return True

    async def wait(self) -> None:
        """Wait for a turn and take it."""
        if self.take():
            return
        turn = anyio.Event()
        self._waiting.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self.release()  # it was given a turn, and cancelled before it could begin
            else:
                self._waiting.remove(turn)
            raise

    def release(self) -> None:
        """Give the turn back: to whoever has waited longest."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._free += 1

    @property
    def unused(self) -> bool:
        """Whether nobody holds the only turn."""
        return self._free > 0


class KeyedLocks:
    """Orders what happens to one key; different keys don't wait for each other."""

    def __init__(self) -> None:
        self._entries: dict[str, Turns] = {}

    def take(self, key: str) -> bool:
        """Take the lock if nobody holds it."""
        if key in self._entries:
            return False
        self._entries[key] = lock = Turns(1)
        return lock.take()

    async def wait(self, key: str) -> None:
        """Wait for the key's turn and take it, first come first served."""
        if self.take(key):
            return
        lock = self._entries[key]
        try:
            await lock.wait()
        except BaseException:
            self._tidy(key, lock)
            raise

    def release(self, key: str) -> None:
        """Let the next one in."""
        lock = self._entries[key]
        lock.release()
        self._tidy(key, lock)

    def _tidy(self, key: str, lock: Turns) -> None:
        if lock.unused and self._entries.get(key) is lock:
            del self._entries[key]

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """The key's turn, for the length of a block."""
        await self.wait(key)
        try:
            yield
        finally:
            self.release(key)
