"""The hook that offers ``template:///path/to/bank.db``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lorabank.errors import InvalidInputError
from lorabank.hooks import Backend, BankUrl, Register, hookimpl
from lorabank_template.store import SqliteStore


@hookimpl
def lorabank_register_backends(register: Register) -> None:
    """Offer the scheme ``template``."""
    register(Backend("template", open_store=open_store))


@asynccontextmanager
async def open_store(url: BankUrl) -> AsyncIterator[SqliteStore]:
    """Open the file; it is made if it is not there, its directory must be."""
    if url.netloc or url.options or url.path in ("", "/"):
        raise InvalidInputError("bank", url.text, "'template:///path/to/bank.db'")
    store = SqliteStore(url.path)
    try:
        await store.load()
        yield store
    finally:
        await store.aclose()
