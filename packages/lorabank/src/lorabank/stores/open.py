"""Adapter stores by URL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lorabank.config import ReplayConfig
from lorabank.errors import InvalidInputError
from lorabank.hooks import BankUrl
from lorabank.stores.base import AdapterStore
from lorabank.stores.memory import MemoryAdapterStore
from lorabank.stores.sqlite import open_sqlite_store


@asynccontextmanager
async def open_adapter_store(
    url: str, *, replay: ReplayConfig | None = None, half: bool = False
) -> AsyncIterator[AdapterStore]:
    """Open ``memory://`` or ``sqlite:///path.db``, and close it in the end.

    With ``half``, files hold new weights in float16: about half the bytes, read back rounded to 11
    bits. Memory holds them as they are.

    A path after three slashes is relative to the working directory, after four it is absolute.

    Raises:
        InvalidInputError: another scheme, options, or no path where one is needed.
        StoreError: the file is damaged, read-only, or of another kind or version.
    """
    parsed = BankUrl.parse(url)
    if parsed.options or parsed.netloc or "#" in url or "?" in url:
        raise InvalidInputError("store", url, "neither host, options nor fragment")
    settings = replay or ReplayConfig()
    if parsed.scheme == "memory" and not parsed.path:
        store = MemoryAdapterStore(settings)
        try:
            yield store
        finally:
            await store.aclose()
    elif parsed.scheme == "sqlite" and len(parsed.path) > 1:
        async with open_sqlite_store(parsed.path[1:], settings, half=half) as durable:
            yield durable
    else:
        raise InvalidInputError("store", url, "'memory://' or 'sqlite:///path.db'")
