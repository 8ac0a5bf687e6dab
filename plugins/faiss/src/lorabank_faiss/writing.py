"""One writer per process: concurrent writes are committed together, in one transaction."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

import anyio

from lorabank.turns import in_worker
from lorabank_faiss.faults import bank_error, is_busy, primary_code, translated
from lorabank_faiss.schema import empty_log
from lorabank_faiss.transaction import Transaction

T = TypeVar("T")
_MOST_TOGETHER = 64
_PAUSE = 0.005
# Faults of one statement alone: the rest of the transaction is not touched.
_OWN_FAULTS = {sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, -1}


class Job(Generic[T]):
    """A change that waits for its turn, and what came of it."""

    def __init__(self, apply: Callable[[Transaction], T], *, erases: bool = False) -> None:
        self.apply = apply
        self.erases = erases
        self.done = False
        self.result: T | None = None
        self.error: Exception | None = None

    def finish(self, error: Exception | None = None) -> None:
        """Done, for good or ill; the first error stays."""
        self.done, self.error = True, self.error or error

    def outcome(self) -> T:
        """The result. Raises the error if there was one."""
        if self.error is not None:
            raise self.error
        return cast("T", self.result)


class Writer:
    """The connection that writes. Its methods block: call them from one worker thread at a time."""

    def __init__(self, connection: sqlite3.Connection, busy_timeout: float) -> None:
        self._connection = connection
        self._busy_timeout = busy_timeout

    def commit(self, jobs: Sequence[Job[object]]) -> None:
        """Apply all jobs in one transaction. A job's own fault is undone alone.

        Every job is done afterwards: on disk, or failed with nothing of it left.
        """
        try:
            self._begin()
            for job in jobs:
                self._apply(job)
            self._connection.execute("COMMIT")
        except sqlite3.Error as exc:
            self._roll_back()
            for job in jobs:
                job.finish(bank_error(exc))
            return
        except BaseException:
            self._roll_back()
            raise
        for job in jobs:
            job.finish()
        if any(job.erases for job in jobs):
            empty_log(self._connection, self._busy_timeout)

    def close(self) -> None:
        """Close the connection."""
        with translated():
            self._connection.close()

    def _begin(self) -> None:
        deadline = time.monotonic() + self._busy_timeout
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as exc:
                if not is_busy(exc) or time.monotonic() >= deadline:
                    raise
                time.sleep(_PAUSE)
            else:
                return

    def _apply(self, job: Job[object]) -> None:
        self._connection.execute("SAVEPOINT job")
        try:
            job.result = job.apply(Transaction(self._connection))
        except sqlite3.Error as exc:
            if primary_code(exc) not in _OWN_FAULTS or not self._connection.in_transaction:
                raise
            self._undo(job, bank_error(exc))
        except Exception as exc:  # noqa: BLE001 - raised again by the task whose job this is
            self._undo(job, exc)
        self._connection.execute("RELEASE job")

    def _undo(self, job: Job[object], error: Exception) -> None:
        self._connection.execute("ROLLBACK TO job")
        job.error = error

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:  # SQLite has rolled back by itself
                return


class GroupCommit:
    """Brings the jobs of many tasks to the writer: whoever gets the lock commits for all.

    A task that is cancelled while its job waits takes the job back; a job that has begun, whoever
    carries it, is waited for, so that nothing is half done and nothing turns up later.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: list[Job[object]] = []
        self._lock = anyio.Lock()
        self._limiter = anyio.CapacityLimiter(1)

    async def run(self, apply: Callable[[Transaction], T], *, erases: bool = False) -> T:
        """Have ``apply`` run in a transaction, and return its result once that is on disk.

        With ``erases``, the bytes of what it removes are gone from the files then, too, unless
        another process goes on reading them, which is logged.

        Raises: what ``apply`` raises; BankUnavailableError, BankRejectedError.
        """
        job = Job(apply, erases=erases)
        waiting = cast("Job[object]", job)
        self._waiting.append(waiting)
        try:
            while not job.done:
                async with self._lock:
                    if not job.done:
                        await self._commit_some()
        finally:
            if not job.done:
                await self._take_back(waiting)
        return job.outcome()

    async def _take_back(self, job: Job[object]) -> None:
        if job not in self._waiting:  # another task carries it, and holds the lock for so long
            with anyio.CancelScope(shield=True):
                async with self._lock:
                    pass
        if job in self._waiting:
            self._waiting.remove(job)

    async def _commit_some(self) -> None:
        batch = self._waiting[:_MOST_TOGETHER]
        del self._waiting[: len(batch)]
        try:
            await in_worker(self._writer.commit, batch, limiter=self._limiter)
        finally:  # cancelled before the thread began: the others' jobs go on waiting
            self._waiting[:0] = [job for job in batch if not job.done]
