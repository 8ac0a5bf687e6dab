"""Connecting an engine to a bank, and disconnecting it.

A bank lives in one task from its opening to its closing: what it opens (a task group, a process)
must be closed by the task that opened it, whichever task connects and whichever disconnects.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup, TaskStatus

from lorabank.bank import open_bank
from lorabank.clock import Clock
from lorabank.config import EngineConfig
from lorabank.engine.connection import Connection
from lorabank.engine.tally import Tally
from lorabank.errors import BankUnavailableError, EngineClosedError, InvalidInputError
from lorabank.logs import get_logger
from lorabank.outbox import DeliveryReport
from lorabank.protocols import ReasoningBank
from lorabank.waiting import within

log = get_logger(__name__)
NO_DELIVERIES = DeliveryReport(0, (), 0, 0, ())
# Seconds that a bank may take to open: it may have to start a process, or read an index.
OPENING = 120.0
# Seconds that a bank may take to close, beyond the time to drain.
CLOSING = 30.0
CLOSED = "the engine was closed before a bank was connected"


class Connector:
    """Keeps one bank connected, or none.

    Attributes:
        connection: to the bank of now, or None.
    """

    def __init__(self, config: EngineConfig, clock: Clock, tally: Tally) -> None:
        self.connection: Connection | None = None
        self._config = config
        self._clock = clock
        self._tally = tally
        self._tasks: TaskGroup | None = None
        self._opening: set[anyio.CancelScope] = set()

    def open(self, tasks: TaskGroup) -> None:
        """Banks live in tasks of ``tasks`` from now on."""
        self._tasks = tasks

    async def close(self) -> None:
        """Disconnect; nobody connects any more, nor does who has begun to.

        ``tasks`` would wait for ever for a bank that nobody disconnects.
        """
        self._tasks = None
        for scope in self._opening:
            scope.cancel()
        await self.disconnect()

    async def connect(self, source: ReasoningBank | str) -> None:
        """Open or bind a bank; then disconnect the one before.

        Raises: see `LoRAPersonalizationEngine.connect_reasoning_bank`; nothing has changed then.
        """
        tasks = self._tasks
        if tasks is None:
            raise EngineClosedError(CLOSED)
        connection: Connection | None = None
        with anyio.move_on_after(OPENING) as scope:
            self._opening.add(scope)
            try:
                connection = await tasks.start(self._serve, source)
            finally:
                self._opening.remove(scope)
        if self._tasks is not tasks:
            if connection is not None:
                await self._end(connection)
            raise EngineClosedError(CLOSED)
        if connection is None:
            raise BankUnavailableError(f"the bank did not open within {OPENING:g} s")
        previous, self.connection = self.connection, connection
        if previous is not None:
            await self._end(previous)

    async def disconnect(self) -> DeliveryReport:
        """Go on without a bank. Returns what was delivered to it and what was not."""
        connection, self.connection = self.connection, None
        return NO_DELIVERIES if connection is None else await self._end(connection)

    def in_use(self) -> AbstractContextManager[Connection | None]:
        """The connection of now, or None. Its end waits for the block's: see `Connection.run`."""
        return nullcontext() if self.connection is None else self.connection

    async def _serve(
        self, source: ReasoningBank | str, *, task_status: TaskStatus[Connection]
    ) -> None:
        """One bank's life: opened (if ours), bound, served, drained, closed."""
        connection: Connection | None = None
        try:
            with anyio.CancelScope() as scope:
                async with self._opened(source) as bank, anyio.create_task_group() as queries:
                    connection = Connection(bank, self._config, self._clock, queries, scope)
                    task_status.started(connection)
                    await anyio.lowlevel.checkpoint_if_cancelled()
                    # From here on only `_end` ends it: whoever cancels the engine's body must
                    # not take away the delivery of what was acknowledged.
                    scope.shield = True
                    await connection.run()
                    queries.cancel_scope.cancel()
        except Exception:
            if connection is None:  # whoever connects is told
                raise
            log.exception("the bank failed by itself, or while it was closed")
        finally:
            if connection is not None:
                connection.closed.set()
                lost = len(connection.outbox.report().undelivered)
                if lost and not connection.closing.is_set():
                    # asyncio cancels whatever is still there when its loop shuts down.
                    log.error("the engine was left open: episodes are lost", count=lost)

    @asynccontextmanager
    async def _opened(self, source: ReasoningBank | str) -> AsyncIterator[ReasoningBank]:
        """A bank given by URL is opened and closed here; an instance is only bound."""
        if isinstance(source, str):
            space, clock = self._config.space, self._clock.wall
            async with open_bank(source, space=space, clock=clock) as bank:
                yield bank
            return
        if not isinstance(source, ReasoningBank):
            raise InvalidInputError("bank", source, "a ReasoningBank or a URL")
        await within(self._config.query.deadline, "bind", source.bind, self._config.space)
        yield source

    async def _end(self, connection: Connection) -> DeliveryReport:
        """Ask a connection to end, and wait for its drain and for the bank's own closing."""
        connection.closing.set()
        patience = 2 * self._config.outbox.drain + CLOSING
        # For the bank's own task, as asyncio may cancel whoever waits here without a scope.
        connection.scope.deadline = anyio.current_time() + patience
        with anyio.move_on_after(patience, shield=True):
            await connection.closed.wait()
        if connection.scope.cancel_called:
            log.error("the bank did not close in time", seconds=CLOSING)
        report = connection.report or connection.outbox.report()
        self._tally.add(connection, report)
        if report.undelivered:
            log.error("episodes were not delivered", count=len(report.undelivered))
        return report
