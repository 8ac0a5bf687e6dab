"""A store and its oracle, driven from a synchronous test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from lorabank.protocols import PatternStore
from lorabank.types.space import EmbeddingSpace
from lorabank_conformance.laws import Opener
from lorabank_memory import MemoryStore

T = TypeVar("T")


class Session:
    """Both stores, open for all histories: each takes namespaces of its own.

    Args:
        portal: runs them.
        opener: of the store.
        space: both are bound to it.
        patience: seconds that a call may take.
    """

    def __init__(
        self, portal: BlockingPortal, opener: Opener, space: EmbeddingSpace, patience: float
    ) -> None:
        self.space = space
        self.histories = 0
        self._portal, self._opener, self._patience = portal, opener, patience
        self._opened: AbstractContextManager[PatternStore] | None = None

    def __enter__(self) -> Self:
        self.oracle: PatternStore = MemoryStore()
        self.call(lambda: self.oracle.bind(self.space))
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        self.call(self.oracle.aclose)

    def open(self) -> None:
        """Open the store, again."""
        self._opened = self._portal.wrap_async_context_manager(self._opener())
        self.store = self._opened.__enter__()
        self.call(lambda: self.store.bind(self.space))

    def close(self) -> None:
        """Close the store."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.__exit__(None, None, None)

    def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run it to its end, in bounded time."""
        return self._portal.call(self._bounded, work)

    def both(self, work: Callable[[PatternStore], Awaitable[T]]) -> tuple[T, T]:
        """What the store answers, and what the oracle does."""
        return self.call(lambda: work(self.store)), self.call(lambda: work(self.oracle))

    async def _bounded(self, work: Callable[[], Awaitable[T]]) -> T:
        with anyio.fail_after(self._patience):
            return await work()
