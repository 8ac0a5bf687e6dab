"""Tasks that run beside a block of code, and end with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup


@asynccontextmanager
async def background() -> AsyncIterator[TaskGroup]:
    """A task group whose block may raise as if there were none.

    anyio wraps whatever leaves a task group into an exception group, also the caller's own errors;
    those that come from the block itself pass by bare. Tasks are waited for, not cancelled.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except Exception as exc:  # noqa: BLE001 - raised again below
            failure = exc
    if failure is not None:
        raise failure
