"""Threads of a store's own, for what it reads: a hop to one of them and back.

A search takes some hundred microseconds, and ``anyio.to_thread.run_sync`` adds 60 to it: three
turns of the event loop, and a queue with several locks. Here it is one turn and one lock, 25 us,
under the same rules: a task waits for a free thread for as long as it is not cancelled, and for the
thread's work in any case, as a thread can't be interrupted.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar, cast

import anyio
import anyio.lowlevel

from lorabank.turns import resting

T = TypeVar("T")
# Has the event loop call something soon, from any thread.
Soon = Callable[[Callable[[], object]], object]


class _Job(Generic[T]):
    """A call that a thread makes in the context of the task that waits for it."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._context = copy_context()
        self._result: T | None = None
        self._error: BaseException | None = None
        self.done = anyio.Event()

    def run(self) -> None:
        """In the thread."""
        try:
            self._result = self._context.run(resting, self._call)
        except BaseException as exc:  # noqa: BLE001 - raised again by the task
            self._error = exc

    def outcome(self) -> T:
        """The result. Raises the error if there was one."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # which holds this frame, and so itself
        return cast("T", self._result)


class _Thread:
    """One thread; free, it is found in ``idle``, which only the event loop's thread looks at."""

    def __init__(self, soon: Soon, idle: list[_Thread]) -> None:
        self._soon = soon
        self._idle = idle
        self._jobs: SimpleQueue[_Job[object] | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name="lorabank_faiss reader", daemon=True)
        self._thread.start()

    def give(self, job: _Job[object] | None) -> None:
        """Have it run a job; None: end."""
        self._jobs.put(job)

    def join(self) -> None:
        """Wait for its end. Blocks."""
        self._thread.join()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            try:
                self._soon(lambda job=job: self._finished(job))  # type: ignore[misc]
            except RuntimeError:  # the loop has ended: nobody waits
                return
            del job  # not kept until the next one comes

    def _finished(self, job: _Job[object]) -> None:
        self._idle.append(self)
        job.done.set()


class Readers:
    """Up to ``count`` threads, begun when needed. Made, and to be used, within one event loop."""

    def __init__(self, count: int) -> None:
        self._soon = _soon()
        self._limiter = anyio.CapacityLimiter(count)
        self._idle: list[_Thread] = []  # the one used last, whose caches are warm, is the next
        self._all: list[_Thread] = []

    async def run(self, call: Callable[[], T]) -> T:
        """What ``call`` returns or raises, called in one of the threads.

        `lorabank.turns.give_way` rests there.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        job = _Job(call)
        try:
            self._limiter.acquire_on_behalf_of_nowait(job)
        except anyio.WouldBlock:
            await self._limiter.acquire_on_behalf_of(job)
        try:
            thread = self._idle.pop() if self._idle else self._begin()
            thread.give(cast("_Job[object]", job))
            with anyio.CancelScope(shield=True):
                await job.done.wait()
        finally:
            self._limiter.release_on_behalf_of(job)
        return job.outcome()

    def close(self) -> None:
        """End all threads, each when its job is done. Blocks, for nothing if all are free."""
        for thread in self._all:
            thread.give(None)
        for thread in self._all:
            thread.join()

    def _begin(self) -> _Thread:
        thread = _Thread(self._soon, self._idle)
        self._all.append(thread)
        return thread


def _soon() -> Soon:
    """Of the event loop that runs now."""
    trio = sys.modules.get("trio")  # nobody runs it without having imported it
    if trio is not None:
        try:
            return cast("Soon", trio.lowlevel.current_trio_token().run_sync_soon)
        except RuntimeError:  # it does not run here
            pass
    return asyncio.get_running_loop().call_soon_threadsafe
