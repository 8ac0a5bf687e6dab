"""Looks at the clock of an event loop, and how much of a long wait is this process's own doing.

A loop that has its turn late has computed, has waited for the interpreter's lock, or has waited for
the machine: for a core that another process has, or for one that the host has taken away. The first
two take CPU time of this process: whoever keeps the lock from the loop computes meanwhile, or has
lost a core as well. So of a delay at most that much is held by this process, less what is known of
the machine's own standing still (`stalls`): other threads compute then, and the loop can't.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from time import perf_counter, process_time, thread_time
from typing import Any, NamedTuple

import anyio
import numpy as np

from lorabank_bench.stalls import Stalls

EVERY = 1e-3
NONE = Stalls(())
_SCHEDSTAT = Path("/proc/thread-self/schedstat")
_ROOM = 64  # bytes of that file, at most


class Beat(NamedTuple):
    """At a look at the clock, or from one look to the next: seconds, and a count.

    Attributes:
        wall: time; between two looks, without the pause that was asked for.
        loop_cpu, process_cpu: CPU time of the loop's thread, and of all threads.
        coreless: time in which the loop's thread could have run and had no core.
        switches: how often it lost its core.
        until: the clock at the (later) look.
    """

    wall: float
    loop_cpu: float
    process_cpu: float
    coreless: float
    switches: int
    until: float


class Watch(NamedTuple):
    """The beats of one run, (beats,) each; milliseconds, counts. ``stalled``: of the machine."""

    wall: np.ndarray
    loop_cpu: np.ndarray
    process_cpu: np.ndarray
    coreless: np.ndarray
    switches: np.ndarray
    stalled: np.ndarray

    @classmethod
    def of(cls, beats: list[Beat], stalls: Stalls = NONE) -> Watch:
        """Seconds become milliseconds; with when the machine stood still."""
        wall, loop, process, coreless, switches, _ = np.array(beats).T
        stalled = np.array([stalls.between(b.until - b.wall - EVERY, b.until) for b in beats])
        times = 1e3 * wall, 1e3 * loop, 1e3 * process, 1e3 * coreless
        return cls(*times, switches, 1e3 * stalled)

    @property
    def late(self) -> np.ndarray:
        """Delays, without the time for which there was no core for the loop, (beats,)."""
        late: np.ndarray = np.maximum(self.wall - self.coreless, 0.0)
        return late

    @property
    def held(self) -> np.ndarray:
        """What this process may have done itself of each delay, (beats,)."""
        held: np.ndarray = np.minimum(self.late, self.process_cpu) - self.stalled
        return held.clip(min=0.0)


class Pauses:
    """Collections of cycles: CPU seconds of each, by generation."""

    def __init__(self) -> None:
        self.seconds: dict[int, list[float]] = {0: [], 1: [], 2: []}
        self._started = 0.0

    def longest(self, generations: tuple[int, ...]) -> float:
        """Milliseconds; 0 if there was none."""
        return 1e3 * max((s for number in generations for s in self.seconds[number]), default=0.0)

    @property
    def total(self) -> float:
        """Seconds of all."""
        return sum(s for each in self.seconds.values() for s in each)

    def note(self, phase: str, info: dict[str, Any]) -> None:
        """One collection at a time, whichever thread it falls into."""
        if phase == "start":
            self._started = thread_time()
        else:
            self.seconds[info["generation"]].append(thread_time() - self._started)


@contextmanager
def pauses() -> Iterator[Pauses]:
    """The collections inside a block."""
    found = Pauses()
    gc.callbacks.append(found.note)
    try:
        yield found
    finally:
        gc.callbacks.remove(found.note)


@asynccontextmanager
async def beating() -> AsyncIterator[list[Beat]]:
    """A heart that beats beside a block."""
    beats: list[Beat] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_beat, beats)
        await anyio.sleep(5 * EVERY)
        beats.clear()
        yield beats
        await anyio.sleep(5 * EVERY)
        tasks.cancel_scope.cancel()


async def _beat(beats: list[Beat]) -> None:
    """Until cancelled."""
    with _schedule() as schedule:
        while True:
            before = _look(schedule)
            await anyio.sleep(EVERY)
            after = _look(schedule)
            beats.append(since(before, after))


def since(before: Beat, after: Beat) -> Beat:
    """From one look to the next."""
    return Beat(
        wall=after.wall - before.wall - EVERY,
        loop_cpu=after.loop_cpu - before.loop_cpu,
        process_cpu=after.process_cpu - before.process_cpu,
        coreless=after.coreless - before.coreless,
        switches=after.switches - before.switches,
        until=after.until,
    )


def _look(schedule: int | None) -> Beat:
    switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
    coreless = 0.0 if schedule is None else 1e-9 * int(_read(schedule).split()[1])
    now = perf_counter()
    return Beat(now, thread_time(), process_time(), coreless, switches, now)


def _read(file: int) -> bytes:
    """Its beginning.

    `os.pread` lets go of the interpreter's lock, and waits for it again: the look would take as
    long as a second delay. A function of `ctypes.pythonapi` keeps it.
    """
    buffer = ctypes.create_string_buffer(_ROOM)
    found = ctypes.pythonapi.pread(file, buffer, ctypes.c_size_t(_ROOM), ctypes.c_size_t(0))
    return buffer.raw[: max(0, found)]


@contextmanager
def _schedule() -> Iterator[int | None]:
    """What Linux counts of this thread: nanoseconds on a core, nanoseconds waited for one."""
    schedule = None
    with suppress(OSError):
        schedule = os.open(_SCHEDSTAT, os.O_RDONLY)
    try:
        yield schedule
    finally:
        if schedule is not None:
            os.close(schedule)
