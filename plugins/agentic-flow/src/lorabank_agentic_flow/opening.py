"""Opening a store: its connection runs in a task of its own for as long as the block lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from lorabank.background import background
from lorabank.errors import InvalidInputError
from lorabank.hooks import BankUrl
from lorabank.protocols import Embedder
from lorabank_agentic_flow.connection import Connection
from lorabank_agentic_flow.operations import Operations
from lorabank_agentic_flow.settings import Settings, http_options, stdio_options
from lorabank_agentic_flow.store import AgenticFlowStore
from lorabank_agentic_flow.transport import Transport


@asynccontextmanager
async def open_store(
    url: BankUrl | str,
    *,
    embedder: Embedder | None = None,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[AgenticFlowStore]:
    """Open the store that a URL names, and close it at the end of the block.

    Args:
        url: ``agentic-flow+stdio:///path/to/agentdb.db?server=...`` or ``agentic-flow+http://...``.
        embedder: of the bank's space; makes other clients' episodes searchable.
        headers: sent with each HTTP request, such as ``Authorization``.

    Raises:
        InvalidInputError: the URL, an option, or a path in it is wrong.
        BankUnavailableError: the server does not start or does not answer.
        BankRejectedError: the server refuses us, or says what is not known here.
    """
    address = BankUrl.parse(url) if isinstance(url, str) else url
    transport: Transport
    if address.scheme == "agentic-flow+stdio":
        if headers:
            raise InvalidInputError("headers", dict.fromkeys(headers), "none: there is no HTTP")
        transport, settings = stdio_options(address)
    elif address.scheme == "agentic-flow+http":
        http, settings = http_options(address)
        transport = replace(http, headers={**http.headers, **(headers or {})})
    else:
        raise InvalidInputError("bank", address.text, "agentic-flow+stdio or agentic-flow+http")
    async with run_store(transport, settings, embedder) as store:
        yield store


@asynccontextmanager
async def run_store(
    transport: Transport, settings: Settings, embedder: Embedder | None = None
) -> AsyncIterator[AgenticFlowStore]:
    """A store on any transport. Errors of the block come out as they are, not in a group."""
    async with background() as group:
        connection = Connection(transport, settings.timeout)
        store = AgenticFlowStore(transport, connection, Operations(group), settings, embedder)
        group.start_soon(connection.run)
        try:
            await connection.started()
            await store.start()
            yield store
        finally:
            with anyio.CancelScope(shield=True):
                await store.aclose()
            group.cancel_scope.cancel()
