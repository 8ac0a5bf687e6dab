"""Work that goes on when its caller is cancelled, so that a write is never left half done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, TypeVarTuple, cast

import anyio
from anyio.abc import TaskGroup

from lorabank.errors import BankClosedError

T = TypeVar("T")
Args = TypeVarTuple("Args")


class Operations:
    """Runs functions in a task group of its owner's."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._running: set[Work[Any]] = set()
        self._orphans: set[Work[Any]] = set()

    async def run(self, function: Callable[[*Args], Awaitable[T]], *args: *Args) -> T:
        """The function's result. If the caller is cancelled, the function still runs to its end."""
        work = self.start(function, *args)
        try:
            return await work.outcome()
        finally:
            if not work.done.is_set():
                self._orphans.add(work)

    def start(self, function: Callable[[*Args], Awaitable[T]], *args: *Args) -> Work[T]:
        """Begin what several may wait for, and what leaves nothing half done."""
        work: Work[T] = Work(function, args)
        self._running.add(work)
        self._group.start_soon(self._perform, work)
        return work

    async def settled(self) -> None:
        """Wait for what cancelled callers left behind, which could still change the state."""
        while self._orphans:
            await next(iter(self._orphans)).done.wait()

    async def finished(self) -> None:
        """Wait for everything that runs."""
        while self._running:
            await next(iter(self._running)).done.wait()

    async def _perform(self, work: Work[Any]) -> None:
        try:
            work.result = await work.function(*work.args)
            work.error = None
        except Exception as exc:  # noqa: BLE001 - it is raised where it is waited for
            work.error = exc
        finally:
            self._running.discard(work)
            self._orphans.discard(work)
            work.done.set()


class Work(Generic[T]):
    """A function that runs in the group."""

    def __init__(self, function: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> None:
        self.function = function
        self.args = args
        self.done = anyio.Event()
        self.result: T | None = None
        self.error: Exception | None = BankClosedError("closed before it was done")

    async def outcome(self) -> T:
        """The function's result. Cancelling the wait does not cancel the function."""
        await self.done.wait()
        if self.error is not None:
            raise self.error
        return cast("T", self.result)
