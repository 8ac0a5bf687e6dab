"""Measuring how long the event loop is kept from other tasks."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import TypeAlias

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

Work: TypeAlias = Callable[[], Awaitable[object]]

ROUNDS = 6
CONTROL = 0.3  # seconds


async def longest_pause(work: Work) -> float:
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


async def assert_never_blocked(works: Mapping[str, Work], longest: float) -> None:
    """No work keeps the event loop for ``longest`` seconds more than it would stand still anyway.

    What it would anyway (other threads, a busy machine) is measured beside it, with a thread that
    only computes. What blocks does so in every round; what does not is cleared by one.

    Args:
        works: done one after the other, by what to call them.
        longest: seconds.
    """
    blamed: dict[str, float] = dict.fromkeys(works, math.inf)
    for _ in range(ROUNDS):
        pauses = {name: await longest_pause(work) for name, work in works.items()}
        noise = await longest_pause(computing)
        blamed = {name: pauses[name] for name in blamed if pauses[name] - noise > longest}
        if not blamed:
            return
    pytest.fail(f"the event loop stood still for seconds: {blamed}, for {noise} without them")


async def computing() -> None:
    """A thread that only computes, for a while: what any other thread does to the event loop."""
    await anyio.to_thread.run_sync(_compute)


def _compute() -> None:
    end = perf_counter() + CONTROL
    while perf_counter() < end:
        pass
