"""Awaitables as cases. A case is synchronous, so its loop drives coroutines by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from time import perf_counter
from typing import Any, TypeVar

import anyio

from lorabank_bench.measuring import Case

T = TypeVar("T")


def _drive(work: Coroutine[Any, Any, object]) -> None:
    """To its end. Giving way to others is one bare yield; waiting for something is not."""
    try:
        while work.send(None) is None:
            pass
    except StopIteration:
        return
    raise RuntimeError("it waited for something: it is no case for this loop")


def in_loop(work: Callable[[], Awaitable[T]], backend: str = "asyncio") -> T:
    """Run an asynchronous measurement."""
    return anyio.run(work, backend=backend)


def run_in_loop(name: str, work: Callable[[], Coroutine[Any, Any, object]]) -> Case:
    """A case of a coroutine that finds all it needs at hand, and so never waits."""

    def run(count: int) -> float:
        turns = range(count)
        started = perf_counter()
        for _ in turns:
            _drive(work())
        return perf_counter() - started

    return Case(name, run)
