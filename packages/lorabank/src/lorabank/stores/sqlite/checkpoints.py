"""Copying the write-ahead log into the file beside the writes, so that no commit waits for it.

SQLite would do it inside whichever commit makes the log too long, and everybody in that commit's
group would wait for thousands of pages and a second fsync. A passive checkpoint holds up neither
writers nor readers. But the log only begins anew once nothing is left in it, and what is committed
meanwhile is left: a last short one goes between two groups of writes, when their callers have been
answered and are busy with what comes next.
"""

from __future__ import annotations

import sqlite3

import anyio
import anyio.to_thread

from lorabank.logs import get_logger

# Writes between checkpoints: some thousand pages, since a page that is written often is then copied
# once for many commits.
EVERY = 1_500

log = get_logger(__name__)


class Checkpointer:
    """Runs checkpoints over a connection of its own, in a thread of its own."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._writes = 0
        self._due = anyio.Event()
        self._under_way = self._nearly_done = False
        self._thread = anyio.CapacityLimiter(1)

    async def committed(self, writes: int) -> None:
        """So many more are in the log. Nothing is written until this returns."""
        self._writes += writes
        if self._under_way:
            return
        if self._nearly_done:
            self._nearly_done = False
            await anyio.to_thread.run_sync(self._copy, limiter=self._thread)
        elif self._writes >= EVERY:
            self._due.set()

    async def run(self) -> None:
        """Copy when it is time, until cancelled."""
        while True:
            await self._due.wait()
            self._due, self._writes, self._under_way = anyio.Event(), 0, True
            try:
                await anyio.to_thread.run_sync(self._copy, limiter=self._thread)
            finally:
                self._under_way, self._nearly_done = False, True

    def disconnect(self) -> None:
        """Close the connection; `run` must have ended."""
        self._db.close()

    def _copy(self) -> None:
        try:
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as exc:
            # The log is as good as the file, and when it gets long a commit copies it after all.
            log.warning("the write-ahead log can't be copied now", error=repr(exc))
