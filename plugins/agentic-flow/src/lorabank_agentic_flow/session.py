"""One live MCP session: calls run in its owner's task group."""

from __future__ import annotations

from typing import Any, Protocol

import anyio
from anyio.abc import TaskGroup

from lorabank.errors import BankRejectedError, BankUnavailableError, LorabankError
from lorabank_agentic_flow.replies import Reply, checked
from lorabank_agentic_flow.sdk import (
    ClientSession,
    ProtocolError,
    is_error,
    protocol_error_code,
    texts_of,
)
from lorabank_agentic_flow.transport import Streams

_METHOD_NOT_FOUND, _INVALID_PARAMS = -32601, -32602


class Caller(Protocol):
    """Something that can call a tool."""

    async def call(self, tool: str, arguments: dict[str, Any]) -> Reply:
        """The tool's reply.

        Raises: BankUnavailableError or BankRejectedError.
        """
        ...

    async def pinned(self) -> Caller:
        """A caller for calls that must reach the same run of the server.

        Its calls raise ConnectionLostError if that has ended.
        """
        ...


class ConnectionLostError(BankUnavailableError):
    """The server went away before it answered."""


class Session:
    """One live session. Calls run in the owner's task group."""

    def __init__(
        self, session: ClientSession, group: TaskGroup, streams: Streams, timeout: float
    ) -> None:
        self._session = session
        self._group = group
        self._timeout = timeout
        self._aside, self._outgoing = streams.aside, streams.outgoing
        self.lost = streams.lost

    async def call(self, tool: str, arguments: dict[str, Any]) -> Reply:
        """See `Caller.call`. Raises ConnectionLostError if the server goes away."""
        if self.lost.is_set():
            raise ConnectionLostError(f"{tool}: the server is gone")
        request = _Request(tool, arguments)
        self._group.start_soon(self._perform, request)
        try:
            with anyio.fail_after(self._timeout):
                await request.done.wait()
        except TimeoutError as exc:
            raise BankUnavailableError(f"{tool}: no answer within {self._timeout:g} s") from exc
        finally:
            request.scope.cancel()
        if request.error is not None:
            raise request.error
        return checked(tool, request.failed, request.reply)

    async def pinned(self) -> Caller:
        """See `Caller.pinned`: this one."""
        return self

    async def _perform(self, request: _Request) -> None:
        lost = ConnectionLostError(f"{request.tool}: the connection was lost")
        request.error = lost
        try:
            with request.scope:
                result = await self._call_tool(request)
                request.failed = is_error(result)
                request.reply = Reply([self._aside.take(text) or text for text in texts_of(result)])
                request.error = None
        except ProtocolError as exc:
            if protocol_error_code(exc) in (_METHOD_NOT_FOUND, _INVALID_PARAMS):
                request.error = BankRejectedError(f"{request.tool}: {exc}")
            else:
                lost.__cause__ = exc
                self.lost.set()
        except Exception as exc:  # noqa: BLE001 - closed streams, HTTP faults: the session is over
            lost.__cause__ = exc
            self.lost.set()
        finally:
            request.done.set()

    async def _call_tool(self, request: _Request) -> Any:
        arguments = await self._outgoing.cut(request.arguments)
        try:
            return await self._session.call_tool(request.tool, arguments)
        finally:
            self._outgoing.forget(arguments)


class _Request:
    def __init__(self, tool: str, arguments: dict[str, Any]) -> None:
        self.tool = tool
        self.arguments = arguments
        self.done = anyio.Event()
        self.scope = anyio.CancelScope()
        self.failed = False
        self.reply = Reply([])
        self.error: LorabankError | None = None
