"""Measuring how long the event loop is kept from other tasks, and by whom."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter, thread_time
from typing import TypeAlias

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from lorabank_conformance.scheduling import waited_since, waits_for_a_processor

Work: TypeAlias = Callable[[], Awaitable[object]]

ROUNDS = 6
CONTROL = 0.3  # seconds
# Seconds between looks at the scheduler. What threads waited up to so long before a pause is taken
# off as well.
GLANCE = 0.02


async def longest_pause(work: Work) -> float:
    """Seconds, at worst, for which ``work`` kept the loop from a task that always wants a turn.

    Time in which threads of this process were ready and had no processor is not the work's, so
    that other programs on the machine (or a pause of the whole of it) are not taken for it; what
    the loop's thread computed is, however long that took.
    """
    async with anyio.create_task_group() as tasks:
        heart = Heart()
        tasks.start_soon(heart.beat)
        await heart.next()
        await work()
        await heart.next()
        tasks.cancel_scope.cancel()
    return heart.worst


class Heart:
    """A task that always wants a turn.

    Attributes:
        worst: seconds between two of its turns that were another task's doing.
    """

    def __init__(self) -> None:
        self.worst = 0.0
        self._beats = 0

    async def next(self) -> None:
        """Wait until it has begun, or has had its next turn."""
        seen = self._beats
        while self._beats == seen:
            await anyio.lowlevel.checkpoint()

    async def beat(self) -> None:
        """Until it is cancelled."""
        glance, waits = perf_counter(), waits_for_a_processor()
        while True:
            before, computed = perf_counter(), thread_time()
            self._beats += 1
            await anyio.lowlevel.checkpoint()
            now, cpu = perf_counter(), thread_time()
            if now - before > self.worst:
                blocked = now - before - waited_since(waits)
                self.worst = max(self.worst, blocked, cpu - computed)
            if now - glance > GLANCE:
                glance, waits = now, waits_for_a_processor()


async def assert_never_blocked(works: Mapping[str, Work], longest: float) -> None:
    """No work keeps the event loop for ``longest`` seconds more than it would stand still anyway.

    What it would anyway (other threads; where the scheduler does not tell, a busy machine) is
    measured beside it, with a thread that only computes. What blocks does so in every round; what
    does not is cleared by one.

    Args:
        works: done one after the other, by what to call them.
        longest: seconds.
    """
    blamed: dict[str, float] = dict.fromkeys(works, math.inf)
    for _ in range(ROUNDS):
        pauses = {name: await longest_pause(work) for name, work in works.items()}
        noise = await longest_pause(computing)
        blamed = {
            name: min(least, pauses[name])
            for name, least in blamed.items()
            if pauses[name] - noise > longest
        }
        if not blamed:
            return
    told = ", ".join(f"{name} for {seconds:.3f} s" for name, seconds in blamed.items())
    pytest.fail(
        f"the event loop stood still, in each of {ROUNDS} rounds, during {told} at least "
        f"({longest:g} s are allowed): compute and wait in a thread (anyio.to_thread.run_sync), "
        "or use a driver that is async"
    )


async def computing() -> None:
    """A thread that only computes, for a while: what any other thread does to the event loop."""
    await anyio.to_thread.run_sync(_compute)


def _compute() -> None:
    end = perf_counter() + CONTROL
    while perf_counter() < end:
        pass
