"""Long work in a thread that leaves the event loop its turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import anyio.to_thread

from lorabank.turns import in_worker

T = TypeVar("T")
Args = TypeVarTuple("Args")


async def in_thread(function: Callable[[*Args], T], *args: *Args) -> T:
    """The function's result. Within it `lorabank.turns.give_way` and `unhurried` rest."""
    limiter = anyio.to_thread.current_default_thread_limiter()
    return await in_worker(function, *args, limiter=limiter)
