"""Measuring how long the event loop is kept from other tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

ROUNDS = 3
LONGEST_CONTROL = 0.5  # seconds


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


async def assert_never_blocked(work: Callable[[], Awaitable[object]], longest: float) -> None:
    """The event loop does not stand still for ``longest`` seconds more than it would anyway.

    What it would anyway (other threads, a busy machine) is measured beside it, with a thread that
    computes for as long as the work took. A store that blocks does so in every round.
    """
    for _ in range(ROUNDS):
        start = perf_counter()
        pause = await longest_pause(work)
        seconds = min(perf_counter() - start, LONGEST_CONTROL)
        noise = await longest_pause(partial(anyio.to_thread.run_sync, _compute, seconds))
        if pause - noise <= longest:
            return
    pytest.fail(f"the event loop stood still for {pause:.3f} s, {noise:.3f} s without the store")


def _compute(seconds: float) -> None:
    end = perf_counter() + seconds
    while perf_counter() < end:
        pass
