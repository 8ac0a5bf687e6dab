"""Opening a directory: connections, indexes, and the background task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread

from lorabank.background import background
from lorabank_faiss.database import Database
from lorabank_faiss.maintenance import Maintenance
from lorabank_faiss.settings import Settings
from lorabank_faiss.store import FaissStore
from lorabank_faiss.writing import GroupCommit


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[FaissStore]:
    """The store of a directory, made if it is not there. Closed at the end of the block.

    Indexes are ready when it is open: loaded from snapshots, or built with progress in the log.

    Raises: BankError of any kind if the directory can't be used.
    """
    database = await anyio.to_thread.run_sync(Database, settings)
    commits = GroupCommit(database.writer)
    maintenance = Maintenance(database, commits)
    store = FaissStore(database, commits, maintenance)
    try:
        await maintenance.prepare()
        async with background() as tasks:
            tasks.start_soon(maintenance.run)
            try:
                yield store
            finally:
                maintenance.halt()
    finally:
        await store.aclose()
