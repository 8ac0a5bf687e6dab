"""The hook that offers ``memory://``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lorabank.errors import InvalidInputError
from lorabank.hooks import Backend, BankUrl, Register, hookimpl
from lorabank_memory.store import MemoryStore


@hookimpl
def lorabank_register_backends(register: Register) -> None:
    """Offer the scheme ``memory``."""
    register(Backend("memory", open_store=open_memory_store))


@asynccontextmanager
async def open_memory_store(url: BankUrl) -> AsyncIterator[MemoryStore]:
    """A new, empty store, private to this open.

    Raises: InvalidInputError if the URL is more than ``memory://``.
    """
    if url.netloc or url.path or url.options:
        raise InvalidInputError("bank", url.text, "'memory://' without path or options")
    store = MemoryStore()
    try:
        yield store
    finally:
        await store.aclose()
