"""Equal questions that are asked at the same time, answered once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import anyio
import anyio.lowlevel

T = TypeVar("T")


class _Asked(Generic[T]):
    def __init__(self) -> None:
        self.answered = anyio.Event()
        self.answer: T | None = None


class Together(Generic[T]):
    """Whoever asks first gives way to the others once, and then asks for all of them.

    Nobody joins a question that has begun: what a write returned from before somebody asked is in
    the answer. If it failed or was cancelled, the others ask for themselves.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, _Asked[T]] = {}

    async def ask(self, key: Hashable, question: Callable[[], Awaitable[T]]) -> T:
        """The answer to ``question``, which has one answer per key."""
        asked = self._waiting.get(key)
        if asked is not None:
            await asked.answered.wait()
            return await question() if asked.answer is None else asked.answer
        asked = self._waiting[key] = _Asked()
        try:
            try:
                await anyio.lowlevel.checkpoint()
            finally:
                del self._waiting[key]
            asked.answer = await question()
            return asked.answer
        finally:
            asked.answered.set()
