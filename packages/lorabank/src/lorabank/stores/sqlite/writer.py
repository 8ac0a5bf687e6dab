"""One writing thread per process: commits that arrive together share one transaction."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from lorabank.errors import StoreClosedError, VersionConflictError
from lorabank.stores.sqlite.faults import translated
from lorabank.stores.sqlite.schema import empty_log

# Writes per transaction: enough to share an fsync, few enough to keep each wait short.
GROUP = 256
CLOSED = "the adapter store is closed"

Write = Callable[[sqlite3.Connection], Any]


@dataclass(slots=True, eq=False)
class _Request:
    prepare: Callable[[], Write]
    erases: bool = False
    done: anyio.Event = field(default_factory=anyio.Event)
    erased: bool = False
    result: Any = None
    error: Exception | None = None


_Ready = tuple[_Request, Write]


class _NotAlone(Exception):  # noqa: N818 - not an error, and never seen outside
    """A write failed that shares its transaction: begin again, each in a savepoint of its own."""


class Writer:
    """Runs writes in order. Belongs to one event loop; `run` must be running."""

    def __init__(
        self,
        db: sqlite3.Connection,
        path: str,
        finish: Callable[[sqlite3.Connection], None],
        committed: Callable[[int], Awaitable[None]],
    ) -> None:
        """``finish`` is called at the end of each transaction, in it.

        ``committed`` is awaited after it, with how many writes it held.
        """
        self._db = db
        self._path = path
        self._finish = finish
        self._committed = committed
        self._requests: deque[_Request] = deque()
        self._arrived = anyio.Event()
        self._thread = anyio.CapacityLimiter(1)
        self._closed = False

    async def write(self, write: Write) -> Any:
        """Do a write and return what it returns, once it is on disk. See `prepared`."""
        return await self.prepared(lambda: write)

    async def prepared(self, prepare: Callable[[], Write]) -> Any:
        """Do the write that ``prepare`` makes, in the writing thread, before the transaction.

        Cancelled before its turn, the write never happens; after that, it is waited for.

        Raises:
            StoreError: the write's own, or the transaction's; then nothing was written.
        """
        request = _Request(prepare)
        await self._served(request)
        return request.result

    async def erase(self, write: Write) -> tuple[Any, bool]:
        """Do a write that removes something; also whether its bytes are gone from the files.

        What is deleted is overwritten, but the log still has the pages as they were: it is copied
        into the file and emptied, unless another process goes on reading from it.
        """
        request = _Request(lambda: write, erases=True)
        await self._served(request)
        return request.result, request.erased

    async def _served(self, request: _Request) -> None:
        if self._closed:
            raise StoreClosedError(CLOSED)
        self._requests.append(request)
        self._arrived.set()
        try:
            await request.done.wait()
        except BaseException:
            if request in self._requests:
                self._requests.remove(request)
            else:
                with anyio.CancelScope(shield=True):
                    await request.done.wait()
            raise
        if request.error is not None:
            raise request.error

    async def run(self) -> None:
        """Serve requests until closed. Once this has ended, every request is answered."""
        try:
            while not self._closed or self._requests:
                await self._arrived.wait()
                self._arrived = anyio.Event()
                while self._requests:
                    await self._serve_group()
        finally:
            self._closed = True
            while self._requests:
                request = self._requests.popleft()
                request.error = StoreClosedError(CLOSED)
                request.done.set()

    def close(self) -> None:
        """Take no more; what was taken is still written."""
        self._closed = True
        self._arrived.set()

    def disconnect(self) -> None:
        """Close the connection; `run` must have ended."""
        self._db.close()

    async def _serve_group(self) -> None:
        # Whoever is ready to run gets as far as its own write: larger groups share one fsync.
        await anyio.lowlevel.checkpoint()
        size = min(GROUP, len(self._requests))
        group = [self._requests.popleft() for _ in range(size)]
        try:
            # Shielded: a group that was taken must be answered.
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._commit, group, limiter=self._thread)
        finally:
            for request in group:
                request.done.set()
        await self._committed(len(group))

    def _commit(self, group: list[_Request]) -> None:
        """One transaction; a write that fails is undone alone, if SQLite can go on."""
        ready = list(_prepared(group))
        if not ready:
            return
        try:
            try:
                self._transact(ready, self._do)
            except _NotAlone:
                self._transact(ready, self._attempt)
        except Exception as exc:  # noqa: BLE001 - raised again by each request's `write`
            for request, _ in ready:
                request.error = exc
            return
        erasing = [request for request, _ in ready if request.erases]
        if erasing:
            erased = empty_log(self._db)
            for request in erasing:
                request.erased = erased

    def _transact(self, ready: list[_Ready], do: Callable[[_Request, Write], None]) -> None:
        with translated(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for request, write in ready:
                    do(request, write)
                self._finish(self._db)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _do(self, request: _Request, write: Write) -> None:
        """Without a savepoint: those take as long as the writes, and failures are rare."""
        request.error = None
        try:
            request.result = write(self._db)
        except VersionConflictError as exc:
            request.error = exc  # raised before anything is written
        except Exception as exc:
            raise _NotAlone from exc

    def _attempt(self, request: _Request, write: Write) -> None:
        request.error = None
        self._db.execute("SAVEPOINT request")
        try:
            with translated(self._path):
                request.result = write(self._db)
        except Exception as exc:
            # A full disk or a damaged page ends the transaction, and so everybody's write.
            if not self._db.in_transaction:
                raise
            self._db.execute("ROLLBACK TO request")
            request.error = exc
        self._db.execute("RELEASE request")


def _prepared(group: list[_Request]) -> Iterator[tuple[_Request, Write]]:
    """The requests with their writes; one that can't be prepared has failed."""
    for request in group:
        try:
            yield request, request.prepare()
        except Exception as exc:  # noqa: BLE001 - raised again by the request's `write`
            request.error = exc
