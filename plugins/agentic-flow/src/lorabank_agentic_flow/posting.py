"""Messages are handed to the SDK one by one, each when the one before is on its way.

The 1.x generation begins a task for each request, which looks up what it has to send only when it
runs, in a variable that the next message changes: of two requests handed over in quick succession
the second was sent twice, and the first never.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio

_GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError)


class Posts:
    """Tells when the HTTP request that carries a message begins.

    Args:
        url: where messages are posted; what is posted elsewhere was redirected.
    """

    def __init__(self, url: Any) -> None:
        self._url = url
        self._begun = anyio.Event()

    async def on_request(self, request: Any) -> None:
        """Called with each HTTP request before it is sent."""
        if request.method == "POST" and request.url == self._url:
            self._begun.set()

    @asynccontextmanager
    async def one_by_one(self, write: Any) -> AsyncIterator[Any]:
        """A stream that takes messages for ``write``."""
        handed, outgoing = anyio.create_memory_object_stream[Any](0)
        async with anyio.create_task_group() as group:
            group.start_soon(self._pump, outgoing, write)
            try:
                yield handed
            finally:
                handed.close()
                group.cancel_scope.cancel()

    async def _pump(self, outgoing: Any, write: Any) -> None:
        with suppress(*_GONE):
            async with outgoing:
                async for message in outgoing:
                    self._begun = anyio.Event()
                    await write.send(message)
                    await self._begun.wait()
