"""The remote as another agentic-flow client sees it: bare tool calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from lorabank.hooks import BankUrl
from lorabank_agentic_flow.connection import Connection
from lorabank_agentic_flow.settings import http_options, stdio_options
from lorabank_agentic_flow.transport import Transport

Call = Callable[[str, dict[str, Any]], Awaitable[str]]


@asynccontextmanager
async def raw_client(url: str) -> AsyncIterator[Call]:
    """Calls tools and gives the text of their replies."""
    address = BankUrl.parse(url)
    transport: Transport
    if address.scheme == "agentic-flow+stdio":
        transport, settings = stdio_options(address)
    else:
        transport, settings = http_options(address)
    connection = Connection(transport, settings.timeout)
    async with anyio.create_task_group() as group:
        group.start_soon(connection.run)
        try:
            await connection.started()

            async def call(tool: str, arguments: dict[str, Any]) -> str:
                return (await connection.call(tool, arguments)).text

            yield call
        finally:
            await connection.aclose()
