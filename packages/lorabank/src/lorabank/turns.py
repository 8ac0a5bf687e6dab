"""Worker threads that leave the event loop its turns.

CPython's threads take turns by one lock. A thread that runs bytecode may keep it for
`sys.getswitchinterval` (5 ms) although the loop waits for it. One that lets go of it just for the
moment of a short numpy call has it back before the loop has woken up, and the loop's wait begins
anew. So work that is long enough for a thread of its own runs by `in_worker`, and calls `give_way`
between its steps: it rests long enough for the loop to wake up and take its turn.

Where several work at once, one that rests lets another have the lock, and the loop's wait goes on:
each rests for longer then, so that their rests meet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
# Seconds of work between two rests, and of a rest. The system adds its timer's slack to a rest,
# some 50 us: a twentieth of the work's time in all.
STRETCH, REST = 1e-3, 1e-5
# Of a rest where several work: a quarter of their time, which is time for each other as well.
REST_OF_SEVERAL = 3e-4
# Items between two looks at the clock.
FEW = 4


class _Worker(threading.local):
    """When this thread rested last; None where no rest is wanted: it may be the loop's own."""

    rested: float | None = None


class _Crowd:
    """How many workers are at work."""

    def __init__(self) -> None:
        self.size = 0
        self._lock = threading.Lock()

    def enter(self) -> None:
        """One more."""
        with self._lock:
            self.size += 1

    def leave(self) -> None:
        """One less."""
        with self._lock:
            self.size -= 1


_worker = _Worker()
_crowd = _Crowd()


async def in_worker(
    function: Callable[[*Ts], T],
    *arguments: *Ts,
    limiter: anyio.CapacityLimiter,
    abandon_on_cancel: bool = False,
) -> T:
    """Run ``function(*arguments)`` in a worker thread, where `give_way` rests."""
    return await anyio.to_thread.run_sync(
        resting, function, *arguments, limiter=limiter, abandon_on_cancel=abandon_on_cancel
    )


def resting(function: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Run ``function(*arguments)`` in this thread, one of workers, where `give_way` rests then."""
    _crowd.enter()
    _worker.rested = perf_counter()
    try:
        return function(*arguments)
    finally:
        _worker.rested = None
        _crowd.leave()


def give_way() -> None:
    """Let the event loop have its turn, if this is a worker's thread and it is time.

    Call it between the steps of long work, each well below a millisecond where that is possible;
    what numpy does without the lock may be longer. Elsewhere it does nothing.
    """
    rested = _worker.rested
    if rested is not None and perf_counter() - rested > STRETCH:
        time.sleep(REST if _crowd.size == 1 else REST_OF_SEVERAL)
        _worker.rested = perf_counter()


def unhurried(items: Iterable[T], few: int = FEW) -> Iterator[T]:
    """The items one by one, giving way between every few of them."""
    for number, item in enumerate(items):
        if number % few == 0:
            give_way()
        yield item
