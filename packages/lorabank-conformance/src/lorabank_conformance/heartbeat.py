"""Measuring how long the event loop is kept from other tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter

import anyio
import anyio.lowlevel

ROUNDS = 3


async def longest_pause(work: Callable[[], Awaitable[object]]) -> float:
    """Seconds between two turns of a task that always wants one, at worst, while ``work`` runs."""
    worst = 0.0

    async def beat() -> None:
        nonlocal worst
        before = perf_counter()
        while True:
            await anyio.lowlevel.checkpoint()
            now = perf_counter()
            worst, before = max(worst, now - before), now

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beat)
        await anyio.lowlevel.checkpoint()
        await work()
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    return worst


async def steady_pause(work: Callable[[], Awaitable[object]]) -> float:
    """The least of several rounds' `longest_pause`: other programs only ever make it longer."""
    return min([await longest_pause(work) for _ in range(ROUNDS)])
