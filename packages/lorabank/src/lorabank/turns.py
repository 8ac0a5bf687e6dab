"""Worker threads that leave the event loop its turns.

CPython's threads take turns by one lock. A thread that runs bytecode may keep it for
`sys.getswitchinterval` (5 ms) although the loop waits for it. One that lets go of it just for the
moment of a short numpy call has it back before the loop has woken up, and the loop's wait begins
anew. So work that is long enough for a thread of its own runs by `in_worker`, and calls `give_way`
between its steps: it rests long enough for the loop to wake up and take its turn.

Of two such threads one may have the lock whenever the other rests, and CPython asks for it on the
loop's behalf only after an interval in which it did not change hands. So that interval is short
while there are workers, unless the application has set a shorter one.
"""

from __future__ import annotations

import os
import sys
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
# Seconds after which a thread that waits for the lock has it asked for, while there are workers.
INTERVAL = 5e-4
# Of a microsecond: the interpreter keeps whole ones, cut off.
_HALF = 5e-7
# Items between two looks at the clock.
FEW = 4


class _Worker(threading.local):
    """When this thread rested last; None where no rest is wanted: it may be the loop's own."""

    rested: float | None = None


class _Crowd:
    """How many workers are at work; while there are any, the interpreter's interval is short."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._size = 0
        self._before = self._ours = 0.0

    def enter(self) -> None:
        """One more."""
        with self._lock:
            self._size += 1
            if self._size == 1:
                self._before = self._ours = sys.getswitchinterval()
                if self._before > INTERVAL:
                    sys.setswitchinterval(INTERVAL)
                    self._ours = sys.getswitchinterval()

    def leave(self) -> None:
        """One less. What the application has set meanwhile stays."""
        with self._lock:
            self._size -= 1
            if not self._size:
                self._put_back()

    def forked(self) -> None:
        """In a new process there are none, whoever was at work or held the lock in the old one."""
        if self._size:
            self._put_back()
        self._lock = threading.Lock()
        self._size = 0

    def _put_back(self) -> None:
        if sys.getswitchinterval() == self._ours != self._before:
            sys.setswitchinterval(self._before + _HALF)


_worker = _Worker()
_crowd = _Crowd()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_crowd.forked)


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
        time.sleep(REST)
        _worker.rested = perf_counter()


def unhurried(items: Iterable[T], few: int = FEW) -> Iterator[T]:
    """The items one by one, giving way between every few of them."""
    for number, item in enumerate(items):
        if number % few == 0:
            give_way()
        yield item
