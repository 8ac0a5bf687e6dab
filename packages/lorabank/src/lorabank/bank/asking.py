"""Equal questions that are asked at the same time, answered once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import anyio
import anyio.lowlevel

T = TypeVar("T")
# Whoever was started just before asks in the next turn, on trio before or after this one goes on.
TURNS = 2


class Asked(Generic[T]):
    """A question that somebody else puts, and what came of it."""

    def __init__(self) -> None:
        self.answered = anyio.Event()
        self.answer: T | None = None

    async def or_else(self, question: Callable[[], Awaitable[T]]) -> T:
        """The answer; of ``question`` if there is none, because asking failed or was cancelled."""
        await self.answered.wait()
        return await question() if self.answer is None else self.answer


class Together(Generic[T]):
    """Whoever asks first gives way to the others, and then asks for all of them.

    Nobody joins a question that has begun: what a write returned from before somebody asked is in
    the answer.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, Asked[T]] = {}

    def joined(self, key: Hashable) -> Asked[T] | None:
        """The same question, if somebody is just about to ask it."""
        return self._waiting.get(key)

    async def ask(self, key: Hashable, question: Callable[[], Awaitable[T]]) -> T:
        """The answer to ``question``, which has one answer per key."""
        joined = self.joined(key)
        if joined is not None:
            return await joined.or_else(question)
        async with self.asking(key) as asked:
            asked.answer = await question()
            return asked.answer

    @asynccontextmanager
    async def asking(self, key: Hashable) -> AsyncIterator[Asked[T]]:
        """A block that finds the answer, for itself and for those who have joined until it begins.

        Put it into ``answer``; without one, they ask for themselves.
        """
        asked = self._waiting[key] = Asked()
        try:
            try:
                for _ in range(TURNS):
                    await anyio.lowlevel.checkpoint()
            finally:
                if self._waiting.get(key) is asked:
                    del self._waiting[key]
            yield asked
        finally:
            asked.answered.set()
