"""The background task of a store: looks after the indexes whenever something was written."""

from __future__ import annotations

import secrets
import time
from functools import partial

import anyio

from lorabank.errors import BankError, BankUnavailableError
from lorabank.logs import get_logger
from lorabank.turns import in_worker
from lorabank_faiss import lease
from lorabank_faiss.database import Database
from lorabank_faiss.reading import large_namespaces, with_many_tombstones
from lorabank_faiss.tending import StoppedError, Tender
from lorabank_faiss.transaction import Transaction
from lorabank_faiss.writing import GroupCommit

_log = get_logger("lorabank_faiss")
_PAUSE = 0.2  # seconds between rounds, at least
_PERIOD = 30.0  # and at most


class Maintenance:
    """Runs rounds in its own thread, one at a time, until it is stopped."""

    def __init__(self, database: Database, commits: GroupCommit) -> None:
        self._database = database
        self._commits = commits
        self._tender = Tender(database)
        self._holder = secrets.token_hex(16)
        self._limiter = anyio.CapacityLimiter(1)
        self._wakened = anyio.Event()
        self._stopping = anyio.Event()
        self._finished: anyio.Event | None = None
        self._round_ended = anyio.Event()
        self._leased = False
        self._pruned = time.monotonic()

    def wake(self) -> None:
        """Something was written: have a round soon."""
        self._wakened.set()

    async def prepare(self) -> None:
        """Load or build (and then save) all indexes, so that searches find them ready.

        Raises: BankError if that fails.
        """
        for name in await self._large():
            await self._tend(name)

    async def run(self) -> None:
        """Have rounds until `stop`."""
        self._finished = anyio.Event()
        try:
            while not self._stopping.is_set():
                self._wakened = anyio.Event()
                await self._round()
                ended, self._round_ended = self._round_ended, anyio.Event()
                ended.set()
                with anyio.move_on_after(_PAUSE):
                    await self._stopping.wait()
                with anyio.move_on_after(_PERIOD):
                    await self._wakened.wait()
        finally:
            self._finished.set()
            self._round_ended.set()

    async def settle(self, timeout: float) -> None:
        """Wait until a whole round has run from now on.

        Raises: BankUnavailableError: not within ``timeout`` seconds.
        """
        try:
            with anyio.fail_after(timeout):
                for _ in range(2):  # the one that runs now may have begun too early
                    self.wake()
                    await self._round_ended.wait()
        except TimeoutError as exc:
            raise BankUnavailableError(f"the indexes need more than {timeout:g} s") from exc

    def halt(self) -> None:
        """Have the rounds end soon, and the thread's work at its next block."""
        self._tender.stop()
        self._stopping.set()
        self._wakened.set()

    async def stop(self) -> None:
        """End the rounds, and wait until the thread's work has ended."""
        self.halt()
        if self._finished is not None:
            await self._finished.wait()
        if self._leased:
            self._leased = False
            await self._release()

    async def _round(self) -> None:
        try:
            for name in await self._large():
                await self._tend(name)
            await in_worker(self._tender.read_trials, limiter=self._limiter)
            await self._prune_exact()
        except StoppedError:
            return
        except (BankError, OSError) as exc:
            _log.warning("index maintenance failed, and will be tried again", error=repr(exc))
        except Exception:  # noqa: BLE001 - indexes are derived: the store goes on without
            _log.exception("index maintenance failed by a fault of its own")

    async def _large(self) -> list[str]:
        def read() -> list[str]:
            with self._database.background.snapshot() as connection:
                return large_namespaces(connection, self._database.settings.flat_limit)

        return await in_worker(read, limiter=self._limiter)

    async def _tend(self, name: str) -> None:
        if await in_worker(self._tender.tend, name, limiter=self._limiter):
            try:
                await self._save(name)
            except (BankError, OSError) as exc:
                _log.warning("an index could not be saved", namespace=name, error=repr(exc))

    async def _save(self, name: str) -> None:
        if not await self._lease():
            return
        code, sequence = await in_worker(self._tender.save, name, limiter=self._limiter)
        await self._commits.run(partial(Transaction.prune, namespace=code, sequence=sequence))

    async def _prune_exact(self) -> None:
        """Forget tombstones of namespaces without snapshots where there are too many."""
        if time.monotonic() < self._pruned + _PERIOD:
            return
        self._pruned = time.monotonic()
        limit = self._database.settings.flat_limit

        def read() -> list[tuple[int, int]]:
            with self._database.background.snapshot() as connection:
                return with_many_tombstones(connection, limit)

        found = await in_worker(read, limiter=self._limiter)
        for code, sequence in found:
            await self._commits.run(partial(Transaction.prune, namespace=code, sequence=sequence))

    async def _lease(self) -> bool:
        def may_ask() -> bool:
            with self._database.background.snapshot() as connection:
                return lease.may_ask(connection, self._holder, time.time())

        if not await in_worker(may_ask, limiter=self._limiter):
            return False
        now = time.time()
        self._leased = await self._commits.run(lambda tx: lease.acquire(tx, self._holder, now))
        return self._leased

    async def _release(self) -> None:
        try:
            await self._commits.run(lambda tx: lease.release(tx, self._holder))
        except BankError as exc:
            _log.info("the snapshot lease was left to expire", error=repr(exc))
