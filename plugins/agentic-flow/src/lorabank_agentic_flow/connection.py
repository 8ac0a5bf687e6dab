"""The MCP session in one task of its own, and calls that outlive it.

`Connection.run` owns transport and session: their cancel scopes never leave its task. Calls of
other tasks are performed in its task group; the callers wait for an event. When the server is
lost, it connects again with growing pauses, lets the store put back what the server may have
forgotten, and unanswered calls are sent again until their time is over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio

from lorabank.errors import BankClosedError, BankUnavailableError, LorabankError
from lorabank.logs import get_logger
from lorabank_agentic_flow.replies import Reply
from lorabank_agentic_flow.sdk import ClientSession
from lorabank_agentic_flow.session import Caller, ConnectionLostError, Session
from lorabank_agentic_flow.transport import Transport

_log = get_logger("lorabank_agentic_flow.connection")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_START_TIME = 60.0  # seconds for a server to start and answer
_CLOSE_TIME = 40.0


class Connection:
    """Keeps one session to a server, until closed.

    Args:
        transport: how the server is reached.
        timeout: seconds that a call may take, connecting and sending again included.
    """

    def __init__(self, transport: Transport, timeout: float) -> None:
        self._transport = transport
        self._timeout = timeout
        self._session: Session | None = None
        self._changed = anyio.Event()
        self._closing = anyio.Event()
        self._finished = anyio.Event()
        self._fault: Exception | None = None
        self._connected_before = False
        self._scope = anyio.CancelScope()
        self.restore: Callable[[Caller], Awaitable[None]] | None = None

    async def run(self) -> None:
        """Stay connected until closed. Runs in a task of its own."""
        pauses = _pauses()
        try:
            with self._scope:
                while not self._closing.is_set():
                    if await self._connect_once():
                        pauses = _pauses()
                    with anyio.move_on_after(next(pauses)):
                        await self._closing.wait()
        finally:
            self._finished.set()
            self._change(None)

    async def started(self) -> None:
        """Wait for the first session. Raises the fault if the first attempt fails."""
        while self._session is None:
            if self._fault is not None:
                raise self._fault
            await self._changed.wait()

    async def call(self, tool: str, arguments: dict[str, Any]) -> Reply:
        """See `Caller.call`. Sent again if the server is lost before it answers."""
        try:
            with anyio.fail_after(self._timeout):
                while True:
                    session = await self._ready()
                    try:
                        return await session.call(tool, arguments)
                    except ConnectionLostError:
                        _log.info("the connection was lost during a call", tool=tool)
        except TimeoutError as exc:
            why = f": {self._fault}" if self._session is None and self._fault else ""
            raise BankUnavailableError(
                f"{tool}: no answer within {self._timeout:g} s{why}"
            ) from exc

    async def pinned(self) -> Caller:
        """See `Caller.pinned`."""
        try:
            with anyio.fail_after(self._timeout):
                return await self._ready()
        except TimeoutError as exc:
            raise BankUnavailableError(f"no connection within {self._timeout:g} s") from exc

    def restart(self) -> None:
        """Let go of the server in an orderly way (ours saves then), and connect again."""
        if self._session is not None:
            self._session.lost.set()

    async def aclose(self) -> None:
        """End the session; a server of our own is stopped. Again: nothing happens."""
        self._closing.set()
        if self._session is not None:
            self._session.lost.set()
        with anyio.move_on_after(_CLOSE_TIME, shield=True):
            await self._finished.wait()
            return
        self._scope.cancel()

    async def _ready(self) -> Session:
        while self._session is None or self._session.lost.is_set():
            if self._closing.is_set():
                raise BankClosedError("the connection to agentic-flow is closed")
            await self._changed.wait()
        return self._session

    async def _connect_once(self) -> bool:
        """One session from start to end; whether it came to work."""
        worked = False
        try:
            async with (
                self._transport.connect() as streams,
                ClientSession(streams.read, streams.write) as session,
            ):
                await _initialize(session, streams.lost)
                async with anyio.create_task_group() as group:
                    try:
                        worked = await self._serve(Session(session, group, streams, self._timeout))
                    finally:
                        streams.lost.set()  # from here on the group takes no calls
                    group.cancel_scope.cancel()
        except Exception as exc:  # noqa: BLE001 - whatever ends a session, the next is tried
            self._note(exc)
        finally:
            self._change(None)
        return worked

    async def _serve(self, session: Session) -> bool:
        if self._connected_before and self.restore is not None:
            try:
                await self.restore(session)
            except ConnectionLostError:
                return False
            except LorabankError as exc:
                _log.error("what the server forgot could not be put back", error=str(exc))
        self._connected_before = True
        self._fault = None
        if not self._closing.is_set():
            self._change(session)
            await session.lost.wait()
        return True

    def _note(self, error: Exception) -> None:
        found: BaseException = error
        while isinstance(found, ExceptionGroup):
            found = found.exceptions[0]
        if not isinstance(found, LorabankError):
            found = BankUnavailableError(f"no session: {type(found).__name__}: {found}")
            found.__cause__ = error
        self._fault = found
        if not self._closing.is_set():
            _log.warning("no connection to agentic-flow", error=str(found))

    def _change(self, session: Session | None) -> None:
        self._session = session
        self._changed.set()
        self._changed = anyio.Event()


async def _initialize(session: ClientSession, lost: anyio.Event) -> None:
    async with anyio.create_task_group() as group:

        async def give_up() -> None:
            await lost.wait()
            group.cancel_scope.cancel()

        group.start_soon(give_up)
        with anyio.fail_after(_START_TIME):
            await session.initialize()
        group.cancel_scope.cancel()
    if lost.is_set():
        raise ConnectionLostError("the server went away before it was ready")


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)
