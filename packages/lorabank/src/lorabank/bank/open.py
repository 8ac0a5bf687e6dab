"""Opening a bank by its URL."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio.to_thread

from lorabank.bank.discovery import find_backend
from lorabank.bank.standard import StandardBank
from lorabank.errors import EmbeddingSpaceError, InvalidInputError
from lorabank.hooks import Backend, BankUrl
from lorabank.protocols import Embedder, ReasoningBank
from lorabank.types.space import EmbeddingSpace


@asynccontextmanager
async def open_bank(
    url: str,
    *,
    space: EmbeddingSpace | None = None,
    embedder: Embedder | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[ReasoningBank]:
    """Open the bank that a URL names, and close it at the end of the block.

    Args:
        url: such as ``"memory://"``; the scheme chooses the backend.
        space: bind the bank to this embedding space (default: the embedder's, if there is one).
        embedder: embeds queries of text alone. Only for banks that lorabank itself reasons for.
        clock: unix seconds; what "now" is for consolidation.

    Raises:
        InvalidInputError: the URL, or an option in it, is wrong.
        UnknownBackendError: no installed backend serves the scheme.
        EmbeddingSpaceError: the bank, the space and the embedder do not agree.
    """
    address = BankUrl.parse(url)
    if space is not None and embedder is not None and embedder.space != space:
        raise EmbeddingSpaceError(f"the embedder makes {embedder.space}, not {space}")
    if space is None and embedder is not None:
        space = embedder.space
    # Reading metadata and importing a plugin are slow: not on the event loop.
    backend = await anyio.to_thread.run_sync(find_backend, address.scheme)
    async with _opened(backend, address, embedder, clock) as bank:
        if space is not None:
            await bank.bind(space)
        yield bank


@asynccontextmanager
async def _opened(
    backend: Backend, address: BankUrl, embedder: Embedder | None, clock: Callable[[], float]
) -> AsyncIterator[ReasoningBank]:
    if backend.open_store is not None:
        async with backend.open_store(address) as store:
            yield StandardBank(store, embedder=embedder, clock=clock)
    elif backend.open_bank is not None:
        if embedder is not None:
            raise InvalidInputError("embedder", embedder, f"None: {address.scheme!r} has its own")
        async with backend.open_bank(address) as bank:
            yield bank
