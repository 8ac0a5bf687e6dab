"""The hook that offers ``faiss:///path/to/directory``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lorabank.hooks import Backend, BankUrl, Register, hookimpl
from lorabank_faiss.opening import open_store
from lorabank_faiss.settings import Settings
from lorabank_faiss.store import FaissStore


@hookimpl
def lorabank_register_backends(register: Register) -> None:
    """Offer the scheme ``faiss``."""
    register(Backend("faiss", open_store=open_faiss_store))


@asynccontextmanager
async def open_faiss_store(url: BankUrl) -> AsyncIterator[FaissStore]:
    """The store in the directory that the URL names.

    Raises: InvalidInputError for a wrong URL; BankError if the directory can't be used.
    """
    async with open_store(Settings.from_url(url)) as store:
        yield store
