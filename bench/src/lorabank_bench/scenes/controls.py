"""What a loop shows that runs nothing of ours: the machine, and CPython."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter

import anyio
import anyio.to_thread

from lorabank_bench.scenes.base import Work
from lorabank_bench.setup import Setup

SECONDS = 1.0


@asynccontextmanager
async def _idle(_: Setup) -> AsyncIterator[Work]:
    async def work() -> None:
        await anyio.sleep(SECONDS)

    yield work


@asynccontextmanager
async def _busy(_: Setup) -> AsyncIterator[Work]:
    async def work() -> None:
        await anyio.to_thread.run_sync(_compute)

    yield work


def _compute() -> None:
    """Plain bytecode, as anybody's thread may run it."""
    end = perf_counter() + SECONDS
    while perf_counter() < end:
        pass


CONTROLS = {"nothing else runs": _idle, "a thread of pure Python": _busy}
